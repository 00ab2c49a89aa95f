// What we show: the certificate in use, and the next one.

#include <algorithm>

#include "identity/state_folder.h"
#include "node/admission.h"
#include "node/node.h"

namespace postern::node {
namespace {

constexpr Duration kLookMin = std::chrono::seconds(1);
constexpr Duration kLookMax = std::chrono::hours(1);  // clocks are set

}  // namespace

/// Not by its identity: a parent that was removed and is approved again is where the list that says
/// so comes from.
std::optional<Refusal> Node::objection_to(const Neighbour& parent) {
  if (const auto denied = trust_.denied(parent.certificate))
    return refusal_for(*denied, parent.name);
  return refusal_by_list(tls_->revocations().get(), parent);
}

void Node::look_at_certificate() {
  const WallTime now = around_.clock.wall();
  revocation_files_.say_stale(now);
  const auto soon = std::max(std::min(renewal_.due(), revocation_files_.next_update(now)) - now,
                             std::chrono::milliseconds(0));
  certificate_timer_ =
      core_.after(std::clamp<Duration>(std::min<Duration>(soon, kLookMax), kLookMin, kLookMax),
                  [this] { look_at_certificate(); });
  if (!settings_.certificates.renew) return;
  if (const auto kind = renewal_.wants_key(now); kind && !std::exchange(key_wanted_, true))
    files_->post([this, kind = *kind, alive = alive_] {
      TlsKey key = TlsKey::generate(kind);
      core_.post([this, alive, key = std::move(key)]() mutable {
        if (!*alive) return;
        key_wanted_ = false;
        renewal_.take_key(std::move(key));
        ask_for_certificate();
      });
    });
  ask_for_certificate();
}

void Node::ask_for_certificate() {
  const WallTime now = around_.clock.wall();
  auto body = renewal_.ask(now);
  if (!body) return;
  certificate_asked_ = kOwnCertificate | ++certificates_asked_;
  wire::pb::Request request;
  request.set_id(certificate_asked_);
  request.set_kind(kCertificateRequest);
  request.set_body(std::move(*body));
  if (!uplink_.send(message_of(wire::Type::request, request))) renewal_.failed(now);
}

void Node::on_certificate(const wire::pb::Reply& reply) {
  if (reply.id() != certificate_asked_) return;
  certificate_asked_ = 0;
  const WallTime now = around_.clock.wall();
  wire::pb::CertificateReply answer;
  std::string words;
  if (reply.has_refused()) {
    words = reply.refused().words();
    renewal_.failed(now, std::chrono::milliseconds(reply.refused().retry_after_ms()));
  } else if (!answer.ParseFromString(reply.body())) {
    words = "an answer that cannot be read";
    renewal_.failed(now);
  } else {
    std::vector<Certificate> chain;
    for (const std::string& der : answer.chain())
      if (auto certificate = Certificate::from_der(as_bytes(der)))
        chain.push_back(std::move(*certificate));
    auto credential = renewal_.on_reply(chain, tls_->anchors(), now);
    if (credential) return install(std::move(*credential));
    words = credential.error().message;
  }
  if (words != last_certificate_words_)
    log_.warning("the certificate is not renewed: {}; it is valid until {}", words,
                 to_rfc3339(tls_->credential()->chain.front().not_after()));
  last_certificate_words_ = words;
}

/// On disk first: a certificate that is shown and lost would be another TLS key at the next start,
/// which is allowed, but the old one may be over by then.
void Node::install(TlsCredential credential) {
  files_->post([this, alive = alive_, credential = std::move(credential)]() mutable {
    auto installed = StateFolder(around_.disk, settings_.state_dir).install_tls(credential);
    core_.post([this, alive, installed, credential = std::move(credential)] {
      if (!*alive) return;
      if (installed) return use(credential, tls_->anchors());
      log_.error("the renewed certificate is not used: {}", installed.error().message);
      renewal_.failed(around_.clock.wall());
    });
  });
}

void Node::take_certificate() {
  StateFolder folder(around_.disk, settings_.state_dir);
  auto credential = folder.tls();
  auto anchors = folder.anchors();
  if (credential && anchors)
    use(*credential, *anchors);
  else
    log_.error("the certificate is not taken over: {}",
               credential ? anchors.error().message : credential.error().message);
}

void Node::use(const TlsCredential& credential, const Anchors& anchors) {
  const bool lists_changed = revocation_files_.read(around_.disk, settings_.certificates, anchors,
                                                    credential.chain, around_.clock.wall());
  auto tls = make_tls(credential, anchors);
  if (!tls) {
    log_.error("the certificate is not taken over: {}", tls.error().message);
    return;
  }
  const Certificate& leaf = credential.chain.front();
  const bool other = leaf != tls_->credential()->chain.front();
  tls_ = *tls;
  listener_.on_certificate();
  if (lists_changed) {
    uplink_.refuse_denied();
    look_at_certificate();
  }
  if (!other) return;
  renewal_.use(leaf);
  last_certificate_words_.clear();
  log_.info("certificate {} is used from now on, valid until {}", leaf.serial(),
            to_rfc3339(leaf.not_after()));
  uplink_.show_credential();
  uplink_.send(head());
  look_at_certificate();
}

}  // namespace postern::node
