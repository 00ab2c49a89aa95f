#include "net/handshake.h"

#include <algorithm>

#include "wire/channel.pb.h"

namespace postern {
namespace {

constexpr std::size_t kWordsBytesMax = 1024;  // of a peer's refusal
// A certificate is seldom replaced within seconds: this keeps a misconfigured site from knocking
// all the time, and lets it in soon enough once it is repaired.
constexpr Duration kCertificateRetry = std::chrono::seconds(30);

std::string printable(const std::string& text) {
  std::string clean = text.substr(0, kWordsBytesMax);
  std::replace_if(
      clean.begin(), clean.end(),
      [](char c) { return static_cast<unsigned char>(c) < 32 || c == 127; }, '?');
  return clean;
}

}  // namespace

void Handshake::start() {
  loop_.watch(stream_->descriptor(), false, false, shared_from_this());
  on_ready(true, true);
}

void Handshake::abandon() {
  if (!stream_) return;
  loop_.unwatch(stream_->descriptor());
  stream_.reset();
  done_ = nullptr;
}

void Handshake::on_ready(bool, bool) {
  if (!stream_) return;
  IoOutcome outcome = stream_->handshake();
  if (outcome.kind == IoOutcome::Kind::want_read || outcome.kind == IoOutcome::Kind::want_write) {
    const bool read = outcome.kind == IoOutcome::Kind::want_read;
    loop_.rewatch(stream_->descriptor(), read, !read);
    return;
  }
  const auto self = shared_from_this();
  loop_.unwatch(stream_->descriptor());
  auto done = std::move(done_);
  done_ = nullptr;
  done(std::move(stream_), std::move(outcome));
}

Judgement judge(const TlsStream& stream, const TlsContext& context, std::string address,
                const std::optional<std::string>& dialled_name) {
  Judgement judgement;
  judgement.peer.address = std::move(address);
  judgement.peer.dialled = dialled_name.has_value();
  judgement.peer.dialled_name = dialled_name.value_or("");
  judgement.peer.exporter = stream.exporter();
  if (context.credential()) judgement.peer.own_tls_key = context.credential()->key.spki_sha256();

  RefusalNotice notice;
  notice.time = context.now();
  notice.refuser = context.name();
  notice.retry_after = kCertificateRetry;
  notice.by_us = true;
  auto chain = stream.chain();
  if (!chain) {
    notice.reason = refusal_of(Reason::malformed);
    notice.words = chain.error().message;
    judgement.objection = std::move(notice);
    return judgement;
  }
  judgement.peer.chain = std::move(*chain);
  if (auto finding = context.objection(judgement.peer.chain, dialled_name)) {
    notice.reason = refusal_of(finding->reason);
    notice.words = judgement.peer.chain.empty()
                       ? finding->words
                       : fmt::format("the certificate '{}' (serial {}) {}",
                                     judgement.peer.chain.front().subject(),
                                     judgement.peer.chain.front().serial(), finding->words);
    judgement.objection = std::move(notice);
  }
  return judgement;
}

Bytes encode_refused(const RefusalNotice& notice) {
  wire::pb::Refused refused;
  refused.set_reason(static_cast<std::uint32_t>(notice.reason));
  refused.set_words(notice.words);
  refused.set_time_ms(to_ms(notice.time));
  refused.set_retry_after_ms(static_cast<std::uint32_t>(std::clamp<std::int64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(notice.retry_after).count(), 0,
      UINT32_MAX)));
  refused.set_refuser(notice.refuser);
  return to_bytes(refused.SerializeAsString());
}

Result<RefusalNotice> decode_refused(ByteView body) {
  wire::pb::Refused refused;
  if (!refused.ParseFromArray(body.data(), static_cast<int>(body.size())))
    return fail(Errc::invalid, "a refused message that cannot be decoded");
  RefusalNotice notice;
  notice.reason = wire::refusal_of_code(refused.reason());
  notice.words = printable(refused.words());
  notice.time = wall_from_ms(refused.time_ms());
  notice.retry_after = std::chrono::milliseconds(refused.retry_after_ms());
  notice.refuser = printable(refused.refuser());
  return notice;
}

}  // namespace postern
