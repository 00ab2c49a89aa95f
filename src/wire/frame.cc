#include "wire/frame.h"

#include <algorithm>

namespace postern::wire {
namespace {

constexpr std::uint8_t kCritical = 1;
constexpr std::uint8_t kMore = 2;
constexpr std::uint8_t kTypeLast = static_cast<std::uint8_t>(Type::presence);

}  // namespace

const char* to_string(Type type) {
  static constexpr const char* kNames[] = {
      "?",       "hello",  "welcome", "refused", "ping",   "pong",       "batch",
      "offer",   "stored", "settled", "answer",  "credit", "head",       "document",
      "request", "reply",  "notice",  "path",    "move",   "credential", "presence"};
  const auto index = static_cast<std::size_t>(type);
  return index < std::size(kNames) ? kNames[index] : "?";
}

const char* to_string(Refusal reason) {
  static constexpr const char* kNames[] = {"unknown",
                                           "no_certificate",
                                           "unknown_ca",
                                           "expired",
                                           "not_yet_valid",
                                           "wrong_name",
                                           "wrong_usage",
                                           "bad_certificate",
                                           "wrong_group",
                                           "version",
                                           "pending_approval",
                                           "rejected",
                                           "removed",
                                           "not_a_parent",
                                           "wrong_role",
                                           "clash",
                                           "bad_proof",
                                           "protocol",
                                           "busy",
                                           "loop",
                                           "stopping",
                                           "wrong_parent",
                                           "superseded",
                                           "issuer_expired",
                                           "issuer_not_yet_valid",
                                           "bad_chain",
                                           "weak_key",
                                           "weak_signature",
                                           "not_an_end_entity",
                                           "malformed",
                                           "revoked"};
  const auto index = static_cast<std::size_t>(reason);
  return index < std::size(kNames) ? kNames[index] : "unknown";
}

Refusal refusal_of_code(std::uint32_t code) {
  return static_cast<Refusal>(std::min<std::uint32_t>(code, 255));
}

Message make_message(Type type, Bytes body, std::uint8_t lane) {
  Message message;
  message.type = type;
  message.lane = lane;
  message.critical = type <= Type::credit;
  message.body = std::make_shared<const Bytes>(std::move(body));
  return message;
}

void FrameWriter::queue(Message message) {
  queued_bytes_ += message.bytes().size();
  ++queued_messages_;
  lanes_[message.lane].push_back({std::move(message), 0});
}

bool FrameWriter::next_frame(Bytes& out) {
  for (auto& lane : lanes_) {
    if (lane.empty()) continue;
    Pending& front = lane.front();
    const ByteView body = front.message.bytes();
    const ByteView piece =
        body.subspan(front.sent, std::min(kFrameBodyMax, body.size() - front.sent));
    front.sent += piece.size();
    const bool more = front.sent < body.size();
    Writer header;
    header.u32(static_cast<std::uint32_t>(piece.size()))
        .u8(static_cast<std::uint8_t>(front.message.type));
    header.u8(
        static_cast<std::uint8_t>((front.message.critical ? kCritical : 0) | (more ? kMore : 0)));
    header.u8(front.message.lane).u8(0);
    out.insert(out.end(), header.written().begin(), header.written().end());
    out.insert(out.end(), piece.begin(), piece.end());
    queued_bytes_ -= piece.size();
    if (!more) {
      --queued_messages_;
      lane.pop_front();
    }
    return true;
  }
  return false;
}

Result<> FrameReader::feed(ByteView bytes) {
  if (failed_) return fail(Errc::invalid, "the channel has failed before");
  const bool was_empty = buffer_.empty();
  if (!was_empty) buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  ByteView rest = was_empty ? bytes : ByteView(buffer_);
  while (rest.size() >= kFrameHeaderBytes) {
    Reader in(rest);
    const std::uint32_t length = in.u32();
    const std::uint8_t type = in.u8(), flags = in.u8(), lane = in.u8(), reserved = in.u8();
    failed_ = true;  // until this frame turns out to be good
    if (length > kFrameBodyMax)
      return fail(Errc::invalid, "a frame of {} bytes; the limit is {}", length, kFrameBodyMax);
    if (flags & ~(kCritical | kMore))
      return fail(Errc::invalid, "a frame with unknown flags {:#x}", flags);
    if (lane > 3) return fail(Errc::invalid, "a frame on lane {}; lanes are 0 to 3", lane);
    if (reserved != 0) return fail(Errc::invalid, "a frame whose reserved byte is {}", reserved);
    failed_ = false;
    if (in.left() < length) break;
    if (auto taken = take_frame(type, flags, lane, in.view(length)); !taken) {
      failed_ = true;
      return taken;
    }
    rest = rest.subspan(kFrameHeaderBytes + length);
  }
  if (was_empty)
    buffer_.assign(rest.begin(), rest.end());
  else
    buffer_.erase(buffer_.begin(), buffer_.end() - static_cast<std::ptrdiff_t>(rest.size()));
  if (buffer_.empty()) buffer_.shrink_to_fit();
  return {};
}

Result<> FrameReader::take_frame(std::uint8_t type, std::uint8_t flags, std::uint8_t lane,
                                 ByteView body) {
  Partial& partial = partial_[lane];
  if (partial.open && partial.type != type)
    return fail(Errc::invalid, "a frame of type {} inside a message of type {} on lane {}", type,
                partial.type, lane);
  if (partial.body.size() + body.size() > message_max(lane))
    return fail(Errc::invalid, "a message of more than {} bytes on lane {}", message_max(lane),
                lane);
  const bool known = type >= 1 && type <= kTypeLast;
  if (!known && (flags & kCritical))
    return fail(Errc::invalid, "a critical frame of unknown type {}", type);
  partial.body.insert(partial.body.end(), body.begin(), body.end());
  partial.type = type;
  partial.open = (flags & kMore) != 0;
  if (partial.open) return {};
  if (known) {
    Message message = make_message(static_cast<Type>(type), std::move(partial.body), lane);
    message.critical = (flags & kCritical) != 0;
    ready_.push_back(std::move(message));
  } else {
    ++skipped_;
  }
  partial = Partial{};
  return {};
}

std::size_t FrameReader::message_max(std::uint8_t lane) const {
  if (!limit_raised_) return kFirstMessageMax;
  return lane == 0 ? kControlMessageMax : kBatchLaneMessageMax;
}

std::optional<Message> FrameReader::next() {
  if (ready_.empty()) return std::nullopt;
  Message message = std::move(ready_.front());
  ready_.pop_front();
  return message;
}

bool FrameReader::idle() const {
  return buffer_.empty() && ready_.empty() &&
         std::none_of(partial_.begin(), partial_.end(), [](const Partial& p) { return p.open; });
}

}  // namespace postern::wire
