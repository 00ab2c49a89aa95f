// What we show: the certificate in use, and the next one.

#include <algorithm>

#include "identity/state_folder.h"
#include "node/admission.h"
#include "node/node.h"
#include "node/strangers.h"

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

void Node::look_into_inbox() {
  inbox_.reset();
  if (!around_.watch_certificate) return;
  keep_hook(hook_, core_, around_.workers, around_.clock, around_.random, log_,
            settings_.certificates, settings_.state_dir, settings_.name,
            to_string(identity_.self.role), tls_->credential()->chain.front());
  if (!settings_.certificates.folder.empty())
    inbox_.emplace(core_, *files_, around_.disk, around_.clock, log_,
                   CertificateInbox::Places{settings_.certificates.folder, settings_.state_dir,
                                            settings_.name});
}

void Node::ask_for_certificate() {
  const WallTime now = around_.clock.wall();
  auto body = renewal_.ask(now);
  if (!body) return;
  certificate_asked_ = kOwnCertificate | ++certificates_asked_;
  wire::pb::Request request;
  request.set_id(certificate_asked_);
  request.set_kind(kCertificateRequest);
  request.set_body(*body);
  if (uplink_.send(message_of(wire::Type::request, request))) return;
  if (renewal_.over(now) || stranded_) return ask_without_certificate(*body, 0);
  renewal_.not_asked(now);
}

void Node::ask_without_certificate(const std::string& body, std::size_t parent) {
  certificate_asked_ = 0;
  const ParentSetting& whom = settings_.parents.at(parent);
  HttpRequest request;
  request.method = "POST";
  request.target = kRenewPath;
  request.headers = {{"content-type", "application/octet-stream"}};
  request.body = body;
  around_.network.ask(
      whom.dial.host, whom.dial.port, std::move(request),
      [this, alive = alive_, body, parent, name = whom.name](const Result<HttpResponse>& response) {
        if (!*alive) return;
        if (response && response->status == 200) return on_chain(response->body);
        // Whoever says no has no key to say it with: another one may be asked.
        const std::string words = response
                                      ? fmt::format("{} says: {}", name, harmless(response->body))
                                      : response.error().message;
        if (parent + 1 < settings_.parents.size()) return ask_without_certificate(body, parent + 1);
        renewal_.failed(around_.clock.wall());
        not_renewed(words);
      });
}

void Node::on_certificate(const wire::pb::Reply& reply) {
  if (reply.id() != certificate_asked_) return;
  certificate_asked_ = 0;
  if (!reply.has_refused()) return on_chain(reply.body());
  renewal_.failed(around_.clock.wall(),
                  std::chrono::milliseconds(reply.refused().retry_after_ms()));
  if (hook_ && wire::refusal_of_code(reply.refused().reason()) == wire::Refusal::unknown_ca)
    hook_->issued_elsewhere();
  not_renewed(reply.refused().words());
}

void Node::on_chain(std::string_view reply) {
  const WallTime now = around_.clock.wall();
  wire::pb::CertificateReply answer;
  if (!answer.ParseFromArray(reply.data(), static_cast<int>(reply.size()))) {
    renewal_.failed(now);
    return not_renewed("an answer that cannot be read");
  }
  std::vector<Certificate> chain;
  for (const std::string& der : answer.chain())
    if (auto certificate = Certificate::from_der(as_bytes(der)))
      chain.push_back(std::move(*certificate));
  for (const auto& document : answer.documents()) take(document);
  auto anchors = trust_.anchors() ? trust_.anchors()->list.applied_to(tls_->anchors())
                                  : Result<Anchors>(tls_->anchors());
  auto credential = renewal_.on_reply(chain, anchors ? *anchors : tls_->anchors(), now);
  if (credential) return install(std::move(*credential));
  not_renewed(credential.error().message);
}

void Node::not_renewed(const std::string& words) {
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
  if (hook_) hook_->use(leaf);
  if (hook_ && !settings_.certificates.renew) hook_->issued_elsewhere();
  last_certificate_words_.clear();
  log_.info("certificate {} is used from now on, valid until {}", leaf.serial(),
            to_rfc3339(leaf.not_after()));
  uplink_.show_credential();
  uplink_.send(head());
  look_at_certificate();
}

}  // namespace postern::node
