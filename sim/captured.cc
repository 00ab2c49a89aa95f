#include "sim/captured.h"

#include "node/self.h"
#include "sim/channel.h"
#include "wire/coverage.h"

namespace postern::sim {
namespace {

constexpr std::size_t kRememberedMax = 64;

Bytes key_bytes(const wire::StreamKey& stream) {
  Writer out;
  stream.write(out);
  return out.take();
}

}  // namespace

Captured::Captured(Surface& surface, Machine& machine, const PrivateKey& identity,
                   std::vector<NodeId> nodes)
    : surface_(surface), machine_(machine), identity_(identity), nodes_(std::move(nodes)) {}

void Captured::capture() {
  active_ = true;
  withholds_ = one_in(2);
  freezes_documents_ = one_in(3);
  lies_ = one_in(2);
  alters_ = one_in(2);
  surface_.coverage.count("captured gateway");
  surface_.oracle.captured(machine_.node());
}

void Captured::remember(const wire::Message& message) {
  auto& kept = messages_[static_cast<std::size_t>(message.type) & 31];
  if (kept.size() >= kRememberedMax) kept.erase(kept.begin());
  kept.push_back(message);
  if (message.type != Type::batch) return;
  const auto stamped = wire::read_stamped(message.bytes());
  const auto batch = stamped ? wire::read_batch(stamped->body) : std::unexpected(stamped.error());
  if (!batch) return;
  if (batches_.size() >= kRememberedMax) batches_.erase(batches_.begin());
  batches_.push_back(
      {batch->header.stream, batch->header.sequence, sha256(batch->signed_part), message});
}

void Captured::turn_a_bit(wire::Message& message, Random& random) {
  if (message.bytes().empty()) return;
  Bytes bytes = to_bytes(message.bytes());
  bytes[random.below(bytes.size())] ^= static_cast<std::byte>(1u << random.below(8));
  message.body = std::make_shared<const Bytes>(std::move(bytes));
}

void Captured::put(Channel& channel, wire::Message message, std::string_view what) {
  surface_.coverage.count(what);
  if (surface_.trace.wants_lines())
    surface_.trace.line(surface_.events.now(), machine_.label(), what);
  auto& end = static_cast<SimChannel&>(channel);
  end.joint().inject(end.side(), std::move(message));
}

void Captured::send_later(Channel& channel, wire::Message message) {
  auto& end = static_cast<SimChannel&>(channel);
  surface_.events.after(
      std::chrono::milliseconds(surface_.random.below(20'000)),
      [keep = channel.shared_from_this(), &end, message = std::move(message)]() mutable {
        end.joint().inject(end.side(), std::move(message));
      });
}

bool Captured::leaving(Channel& channel, wire::Message& message) {
  remember(message);
  switch (message.type) {
    case Type::hello:
      if (lies_ && one_in(4)) lie_in_hello(channel, message);
      return true;
    case Type::welcome:
    case Type::refused:
    case Type::ping:
    case Type::pong:
    case Type::offer:
      return true;  // without these nobody would talk to it
    default:
      break;
  }
  const bool goes = withhold_or_alter(channel, message);
  if (lies_ && one_in(4)) {
    // Towards its parent it dialled, towards its children it was dialled.
    if (channel.peer().dialled)
      lie_up(channel);
    else
      lie_down(channel);
  }
  return goes;
}

/// A role or a claim that nobody gave it: whoever admits it like that believes a hello (rule C1).
void Captured::lie_in_hello(Channel& channel, wire::Message& message) {
  wire::pb::Hello hello;
  if (!hello.ParseFromArray(message.bytes().data(), static_cast<int>(message.bytes().size())))
    return;
  if (one_in(2))
    hello.set_claim(2);
  else
    hello.set_role(static_cast<std::uint32_t>(one_in(2) ? node::Role::server : node::Role::agent));
  message = node::message_of(Type::hello, hello);
  false_hellos_.insert(channel.id());
  surface_.coverage.count("captured: claims another role");
}

bool Captured::withhold_or_alter(Channel& channel, wire::Message& message) {
  if (message.type == Type::document && freezes_documents_) {
    surface_.coverage.count("captured: freezes documents");
    return false;
  }
  const bool from_below = !channel.peer().dialled;
  const auto batch = batch_in(message);
  if (withholds_ && one_in(3)) {
    surface_.coverage.count(batch ? "captured: withholds a batch"
                                  : "captured: withholds a message");
    if (batch && from_below) {
      surface_.oracle.withheld(batch->stream, batch->sequence, batch->hash);
      put(channel, stored_without_hash(*batch), "captured: forges stored");
    }
    return false;
  }
  if (batch && from_below) surface_.oracle.let_through(batch->stream, batch->sequence, batch->hash);
  if (withholds_ && one_in(6)) {
    surface_.coverage.count("captured: reorders");
    send_later(channel, message);
    return false;
  }
  if (alters_ && one_in(8)) {
    surface_.coverage.count(message.type == Type::batch ? "captured: alters a batch"
                                                        : "captured: alters a message");
    turn_a_bit(message, surface_.random);
  }
  if (lies_ && one_in(8)) {
    const auto& kept = messages_[static_cast<std::size_t>(message.type) & 31];
    put(channel, kept[surface_.random.below(kept.size())], "captured: replays");
  }
  return true;
}

void Captured::lie_down(Channel& channel) {
  switch (surface_.random.below(4)) {
    case 0:
      return put(channel, forged_stored(), "captured: forges stored");
    case 1:
      return put(channel, forged_settled(), "captured: forges settled");
    case 2:
      return put(channel, forged_answer(), "captured: forges an answer");
    default: {
      Writer totals;
      for (int lane = 0; lane < 3; ++lane) totals.u64(surface_.random.below(1u << 30));
      return put(channel, wire::make_message(Type::credit, totals.take()),
                 "captured: forges credit");
    }
  }
}

void Captured::lie_up(Channel& channel) {
  switch (surface_.random.below(3)) {
    case 0:
      return put(channel, forged_gap(), "captured: forges a gap");
    case 1:
      return put(channel, forged_presence(), "captured: forges presence");
    default:
      return put(channel, forged_notice(), "captured: sheds");
  }
}

std::optional<Captured::Batch> Captured::batch_in(const wire::Message& message) {
  if (message.type != Type::batch) return std::nullopt;
  const auto stamped = wire::read_stamped(message.bytes());
  const auto batch = stamped ? wire::read_batch(stamped->body) : std::unexpected(stamped.error());
  if (!batch) return std::nullopt;
  return Batch{batch->header.stream, batch->header.sequence, sha256(batch->signed_part), message};
}

/// It is withheld, and its origin is told that it may forget it.
wire::Message Captured::stored_without_hash(const Batch& batch) {
  Digest hash;
  surface_.random.fill(hash);
  const std::vector<wire::Coverage> list{{batch.stream, {{1, batch.sequence, hash}}}};
  return wire::make_message(Type::stored, wire::encode_coverages(list));
}

/// Of a batch that it saw, or of one that it made up.
wire::Message Captured::forged_stored() {
  std::vector<wire::Coverage> list;
  if (!batches_.empty()) {
    const Batch& batch = batches_[surface_.random.below(batches_.size())];
    Digest hash = batch.hash;
    std::uint64_t last = batch.sequence;
    if (one_in(2)) {
      last += surface_.random.below(5);
      surface_.random.fill(hash);
    }
    list.push_back({batch.stream, {{1, last, hash}}});
  }
  return wire::make_message(Type::stored, wire::encode_coverages(list));
}

/// Signed by the only key it has.
wire::Message Captured::forged_settled() {
  wire::Settled settled;
  settled.group = nodes_.front();
  const auto& seen = messages_[static_cast<std::size_t>(Type::settled)];
  if (!seen.empty())
    if (const auto view = wire::read_settled(seen.back().bytes())) settled = view->settled;
  if (!batches_.empty()) {
    const Batch& batch = batches_[surface_.random.below(batches_.size())];
    settled.coverage = {batch.stream, {{1, batch.sequence, batch.hash}}};
  }
  if (one_in(3)) settled.generation += 1 + static_cast<std::uint32_t>(surface_.random.below(3));
  const Bytes body = encode_signed_part(settled);
  Writer out;
  out.bytes(body).bytes(identity_.sign(wire::kSettledContext, body));
  return wire::make_message(Type::settled, out.take());
}

wire::Message Captured::forged_answer() {
  wire::pb::Answer answer;
  if (!batches_.empty()) {
    const Batch& batch = batches_[surface_.random.below(batches_.size())];
    const Batch& other = batches_[surface_.random.below(batches_.size())];
    answer.set_stream(to_string(key_bytes(batch.stream)));
    answer.set_sequence(batch.sequence);
    answer.set_hash(node::field_of(batch.hash));
    // Evidence that is another batch's, or nobody's: nothing unsigned opens an epoch.
    const auto stamped = wire::read_stamped(other.message.bytes());
    if (stamped && one_in(2)) {
      Bytes evidence = to_bytes(stamped->body.first(wire::kBatchHeaderBytes));
      if (one_in(2)) evidence[40] ^= std::byte{1};
      answer.set_evidence(to_string(evidence));
    }
  }
  answer.set_verdict(1 + static_cast<std::uint32_t>(surface_.random.below(3)));
  answer.set_words("because I say so");
  answer.set_retry_after_ms(static_cast<std::uint32_t>(surface_.random.below(1u << 31)));
  return node::message_of(Type::answer, answer);
}

/// In its own name and signed by itself, about another's stream.
wire::Message Captured::forged_gap() {
  wire::GapRecord gap;
  if (!batches_.empty()) {
    const Batch& batch = batches_[surface_.random.below(batches_.size())];
    gap.stream = batch.stream;
    gap.first = gap.last = batch.sequence;
    gap.at_last = batch.hash;
  }
  const Bytes payload = encode(gap);
  wire::BatchHeader header;
  header.stream = {one_in(2) ? identity_.node_id() : gap.stream.node,
                   {1, 0xbad + ++own_gaps_},
                   wire::Lane::state};
  header.sequence = 1;
  header.kind = wire::PayloadKind::gap;
  header.records = 1;
  header.payload_bytes = header.raw_bytes = static_cast<std::uint32_t>(payload.size());
  header.payload_hash = sha256(payload);
  const Bytes signed_part = encode_signed_part(header);
  Writer out;
  out.u8(0).bytes(signed_part).bytes(identity_.sign(wire::kBatchContext, signed_part));
  out.bytes(payload);
  return wire::make_message(Type::batch, out.take(), 1);
}

wire::Message Captured::forged_presence() {
  wire::pb::Presence presence;
  presence.set_node_id(node::field_of(nodes_[surface_.random.below(nodes_.size())].bytes));
  presence.set_connected(one_in(2));
  presence.set_address("198.51.100.1:1");
  return node::message_of(Type::presence, presence);
}

wire::Message Captured::forged_notice() {
  wire::pb::Notice notice;
  if (!batches_.empty()) {
    const Batch& batch = batches_[surface_.random.below(batches_.size())];
    notice.set_stream(to_string(key_bytes(batch.stream)));
    notice.set_first(one_in(2) ? 1 : batch.sequence);
    notice.set_last(batch.sequence + surface_.random.below(3));
  }
  notice.set_reason(1 + static_cast<std::uint32_t>(surface_.random.below(3)));
  notice.set_words("the disk is full");
  return node::message_of(Type::notice, notice);
}

bool Captured::arriving(Channel& channel, wire::Message& message) {
  remember(message);
  if (message.type == Type::welcome && false_hellos_.contains(channel.id()))
    surface_.oracle.breaks(
        "C1", fmt::format("{} is admitted as what it only claims to be", machine_.label()));
  // Its honest half is kept from knowing, too: settled that it never passes on, say.
  if (!withholds_ || !one_in(10)) return true;
  switch (message.type) {
    case Type::hello:
    case Type::welcome:
    case Type::refused:
    case Type::ping:
    case Type::pong:
      return true;
    default:
      return false;
  }
}

}  // namespace postern::sim
