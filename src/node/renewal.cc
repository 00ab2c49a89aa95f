#include "node/renewal.h"

#include <algorithm>

#include "base/invariant.h"
#include "identity/authority.h"
#include "node/signed.h"

namespace postern::node {
namespace {

using std::chrono::milliseconds;

constexpr int kJitterParts = 10;  // of the life
constexpr int kRetryParts = 100;
constexpr int kRetryPartsLater = 20;
constexpr milliseconds kNotAskedRetryMax = std::chrono::minutes(1);

/// The kind of key that is in use: whoever chose RSA had a reason.
TlsKey::Kind kind_like(const Certificate& leaf) {
  if (leaf.key_kind().starts_with("RSA")) return TlsKey::Kind::rsa;
  if (leaf.key_kind() == "Ed25519") return TlsKey::Kind::ed25519;
  return TlsKey::Kind::ec;
}

}  // namespace

milliseconds Renewal::life() const {
  return std::max(leaf_->not_after() - leaf_->not_before(), milliseconds(1));
}

void Renewal::use(const Certificate& leaf) {
  if (leaf_ && *leaf_ == leaf) return;
  leaf_ = leaf;
  next_.reset();
  wait_ = {};
  hurries_ = false;
  failures_ = 0;
  const auto jitter = random_.below(static_cast<std::uint64_t>(life().count()) / kJitterParts + 1);
  due_ = leaf.not_before() + life() / 2 + milliseconds(jitter);
}

void Renewal::hurry(WallTime now, milliseconds spread) {
  if (!leaf_) return;
  hurries_ = true;
  const auto jitter = random_.below(static_cast<std::uint64_t>(spread.count()) + 1);
  due_ = std::min<WallTime>(due_, now + milliseconds(jitter));
}

std::optional<TlsKey::Kind> Renewal::wants_key(WallTime now) const {
  if (!leaf_ || next_ || now < due_) return std::nullopt;
  return kind_like(*leaf_);
}

void Renewal::take_key(TlsKey key) {
  if (next_) return;
  auto request = make_request(key, self_.name);
  invariant(request.has_value(), "a node's own name can be asked for");
  csr_ = std::move(*request);
  next_ = std::move(key);
}

std::optional<std::string> Renewal::ask(WallTime now) {
  if (!leaf_ || !next_ || now < due_) return std::nullopt;
  due_ = now + std::chrono::duration_cast<milliseconds>(kAnswerMax);
  wire::pb::CertificateRequest body;
  body.set_node_id(field_of(self_.id.bytes));
  body.set_csr(csr_);
  body.set_current(field_of(leaf_->der()));
  body.set_issued_ms(to_ms(now));
  return sign(self_.identity, kCertificateContext, body.SerializeAsString()).SerializeAsString();
}

Result<TlsCredential> Renewal::on_reply(const std::vector<Certificate>& chain,
                                        const Anchors& anchors, WallTime now) {
  if (!next_) return fail(Errc::invalid, "a certificate came that nobody asked for");
  const auto refuse = [&](std::string words) {
    failed(now);
    return fail(Errc::denied, "the certificate that came is not taken: {}", words);
  };
  if (const auto wrong = why_refused(chain, anchors, {.now = now, .name = self_.name}))
    return refuse(wrong->words);
  if (!next_->matches(chain.front())) return refuse("it is not for the key that was asked for");
  if (!hurries_ && chain.front().not_after() <= leaf_->not_after())
    return refuse(fmt::format("it ends at {}, not later than the one in use",
                              to_rfc3339(chain.front().not_after())));
  return TlsCredential{*next_, chain};
}

void Renewal::failed(WallTime now, milliseconds not_before_this) {
  if (!leaf_) return;
  ++failures_;
  const milliseconds longest = over(now) || hurries_ ? kRetryMaxWhenOver : kRetryMax;
  const milliseconds first = std::clamp(life() / kRetryParts, kRetryMin, longest);
  const milliseconds last = std::clamp(life() / kRetryPartsLater, kRetryMin, longest);
  wait_ = std::clamp(2 * wait_, first, last);
  // A hop may make up the word: it puts off by one distance at most.
  const milliseconds asked = std::min(not_before_this, last);
  const milliseconds wait = std::max(wait_, asked);
  due_ = now + wait + milliseconds(random_.below(static_cast<std::uint64_t>(wait.count()) / 4 + 1));
}

void Renewal::not_asked(WallTime now) {
  if (!leaf_) return;
  due_ = now + std::clamp(life() / kRetryParts, kRetryMin, kNotAskedRetryMax);
}

Result<CertificateAsk> read_certificate_request(const wire::pb::Signed& message,
                                                const PublicKey& key, const NodeId& id) {
  wire::pb::CertificateRequest body;
  if (!verifies(key, kCertificateContext, message) || !body.ParseFromString(message.body()))
    return fail(Errc::denied, "the request is not signed by the node's identity key");
  if (node_id_of_field(body.node_id()) != id)
    return fail(Errc::denied, "the request is for another node than the one that signed it");
  CertificateAsk ask{body.csr(), std::nullopt};
  if (auto current = Certificate::from_der(as_bytes(body.current())))
    ask.current = std::move(*current);
  return ask;
}

}  // namespace postern::node
