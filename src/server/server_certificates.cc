// What nodes are called by: the next certificate of each, and our own (rule T6).

#include <algorithm>

#include "api/time.h"
#include "base/quantity.h"
#include "identity/state_folder.h"
#include "node/admission.h"
#include "server/server.h"

namespace postern {
namespace {

using node::Refusal;
using std::chrono::milliseconds;

constexpr Duration kLookMin = std::chrono::seconds(1);
constexpr Duration kLookMax = std::chrono::hours(1);  // clocks are set
constexpr std::size_t kRenewedRememberedMax = 20'000;

std::unexpected<Refusal> refuse(wire::Refusal reason, std::string words,
                                milliseconds retry_after = std::chrono::hours(1)) {
  return std::unexpected(Refusal{reason, std::move(words), retry_after});
}

Refusal revoked_one(const store::Revocation& revocation, const std::string& name) {
  Refusal refusal = node::refusal_for({static_cast<std::uint32_t>(revocation.reason), true}, name);
  refusal.retry_after = std::chrono::hours(1);
  return refusal;
}

}  // namespace

std::optional<Refusal> Server::objection_to(const node::Neighbour& who) {
  if (const auto denied = trust_.denied(who.id, who.certificate))
    return refusal_for(*denied, who.name);
  return refusal_by_list(tls_->revocations().get(), who);
}

void Server::on_credential(node::Child& child) {
  Sighting sighting;
  sighting.seen.id = child.who().id;
  sighting.seen.certificate_sha256 = to_hex(child.certificate().fingerprint());
  sighting.seen.certificate_not_after = child.certificate().not_after();
  sighting.seen.certificate = child.certificate().mark();
  note(std::move(sighting));
}

/// A node wants its next certificate, perhaps from far below (W56).
void Server::on_certificate_request(node::Child& child, const wire::pb::Request& request) {
  wire::pb::Signed body;
  if (request.body().size() > node::kCertificateRequestBytesMax ||
      !body.ParseFromString(request.body()) ||
      !asks(child.channel_id(), &Asked::certificates, kRenewalsMax)) {
    log_.debug("a request for a certificate from {} is not answered", child.who().name);
    return;
  }
  renew(std::move(body),
        [this, channel = child.channel_id(), id = request.id()](wire::pb::Reply reply) {
          answered(channel, &Asked::certificates);
          node::Child* asker = children_->by_channel(channel);
          if (asker == nullptr) return;
          reply.set_id(id);
          asker->send(node::message_of(wire::Type::reply, reply));
        });
}

void Server::renew(wire::pb::Signed request, std::function<void(wire::pb::Reply)> done) {
  store_thread_->post([this, alive = alive_, request = std::move(request), done = std::move(done),
                       policy = settings_.certificates] {
    auto signed_chain = sign_next(request, policy);
    core_.post([this, alive, done, signed_chain = std::move(signed_chain)] {
      if (!*alive) return;
      wire::pb::Reply reply;
      if (signed_chain) {
        wire::pb::CertificateReply answer;
        for (const Certificate& certificate : *signed_chain)
          answer.add_chain(node::field_of(certificate.der()));
        // Whoever was away while the CA changed could not know what the chain leads to.
        for (const auto& document : trust_.anchors_and_delegations())
          *answer.add_documents() = document;
        reply.set_body(answer.SerializeAsString());
      } else {
        reply = node::reply_of(signed_chain.error());
      }
      done(std::move(reply));
    });
  });
}

/// Of one that has ended: the policy's word, or an administrator's for this node.
std::optional<Refusal> Server::against_late(const store::Node& node, const Certificate& current,
                                            Duration allowed_late) {
  const WallTime now = around_.clock.wall();
  if (now <= current.not_after() || now - current.not_after() <= allowed_late) return std::nullopt;
  const auto allowed = store_->setting(late_renewal_key(*node.id));
  if (allowed && *allowed)
    if (const auto until = api::parse_rfc3339(**allowed); until && now <= *until)
      return std::nullopt;
  return Refusal{wire::Refusal::expired,
                 fmt::format("the certificate of {} ended at {}, and is renewed by itself within "
                             "{} only (server.yaml, certificates: renew_expired); an "
                             "administrator lets it with: postern cert renew {}",
                             node.name, to_rfc3339(current.not_after()),
                             format_duration(allowed_late), node.name),
                 std::chrono::minutes(1)};
}

std::expected<std::vector<Certificate>, Refusal> Server::sign_next(
    const wire::pb::Signed& request, const CertificateSettings& policy) {
  using wire::Refusal;
  wire::pb::CertificateRequest body;
  if (!body.ParseFromString(request.body()))
    return refuse(Refusal::protocol, "a request for a certificate that cannot be read");
  const NodeId id = node::node_id_of_field(body.node_id());
  const auto known = store_->node(id);
  if (!known) return refuse(Refusal::busy, "the store does not answer", std::chrono::seconds(5));
  if (!*known || (*known)->standing != store::Standing::approved)
    return refuse(Refusal::pending_approval, "certificates are for approved nodes");
  const store::Node& node = **known;
  const auto key = PublicKey::from_spki(node.identity_key);
  const auto ask =
      key ? node::read_certificate_request(request, *key, id) : std::unexpected(key.error());
  if (!ask) return refuse(Refusal::bad_proof, ask.error().message);

  const TimePoint now = core_.clock().now();
  if (const auto last = renewed_.find(id);
      last != renewed_.end() && now - last->second < kRenewedEvery)
    return refuse(Refusal::busy, "one certificate a second for a node", std::chrono::seconds(1));
  const auto authority = folder_.authority();
  if (!authority)
    return refuse(Refusal::busy, fmt::format("{} cannot sign certificates now: {}", settings_.name,
                                             authority.error().message));
  // Neither what it shows nor what it was seen with: it might show an older one.
  const Revocations& revoked = registry_->revocations();
  const store::Revocation* wrong = revoked.find(node.certificate);
  if (wrong == nullptr && ask->current) wrong = revoked.find(ask->current->mark());
  if (wrong != nullptr) return std::unexpected(revoked_one(*wrong, node.name));
  if (!ask->current || !authority->issued(*ask->current))
    return refuse(Refusal::unknown_ca,
                  fmt::format("the certificate in use was issued by {}, not by the authority of "
                              "the management group; renew it there, then: postern cert import",
                              ask->current ? ask->current->issuer() : "nobody known"));
  if (auto late = against_late(node, *ask->current, policy.renew_expired))
    return std::unexpected(std::move(*late));
  SignOptions options;
  options.name = node.name;
  options.lifetime = std::chrono::floor<std::chrono::seconds>(policy.lifetime);
  options.now = around_.clock.wall();
  const auto certificate = authority->sign(as_bytes(ask->csr), options, around_.random);
  if (!certificate) return refuse(Refusal::wrong_name, certificate.error().message);
  if (const auto* of_the_key = revoked.find(certificate->mark()))
    return std::unexpected(revoked_one(*of_the_key, node.name));
  const store::AuditEntry entry{options.now, node.name, "certificate renewed",
                                certificate->subject(),
                                fmt::format("serial {}, valid until {}", certificate->serial(),
                                            to_rfc3339(certificate->not_after()))};
  if (auto noted = store_->audit(entry); !noted)
    return refuse(Refusal::busy, "the store does not answer", std::chrono::seconds(5));
  registry_->on_issued(id, *certificate);
  if (renewed_.size() >= kRenewedRememberedMax)
    std::erase_if(renewed_, [&](const auto& one) { return now - one.second >= kRenewedEvery; });
  if (renewed_.size() < kRenewedRememberedMax) renewed_[id] = now;
  return std::vector{*certificate, authority->certificate()};
}

void Server::look_into_inbox() {
  inbox_.reset();
  if (!around_.watch_certificate) return;
  node::keep_hook(hook_, core_, around_.workers, around_.clock, around_.random, log_,
                  settings_.certificates, settings_.state_dir, settings_.name, "server",
                  tls_->credential()->chain.front());
  if (!settings_.certificates.folder.empty())
    inbox_.emplace(core_, *store_thread_, around_.disk, around_.clock, log_,
                   node::CertificateInbox::Places{settings_.certificates.folder,
                                                  settings_.state_dir, settings_.name});
}

void Server::look_at_certificate() {
  const WallTime now = around_.clock.wall();
  revocation_files_.say_stale(now);
  const auto soon =
      std::max(std::min(renewal_.due(), revocation_files_.next_update(now)) - now, milliseconds(0));
  certificate_timer_ =
      core_.after(std::clamp<Duration>(std::min<Duration>(soon, kLookMax), kLookMin, kLookMax),
                  [this] { look_at_certificate(); });
  const auto kind = settings_.certificates.renew ? renewal_.wants_key(now) : std::nullopt;
  if (!kind || std::exchange(renewing_, true)) return;
  const Certificate current = tls_->credential()->chain.front();
  store_thread_->post([this, alive = alive_, kind = *kind, now, current,
                       hurries = renewal_.hurries()] {
    const auto made = [&]() -> Result<TlsCredential> {
      auto authority = folder_.authority();
      if (!authority) return std::unexpected(authority.error());
      if (!authority->issued(current))
        return fail(Errc::denied,
                    "it was issued by {}, not by the authority of the management group; renew it "
                    "there, then: postern cert import",
                    current.issuer());
      TlsKey key = TlsKey::generate(kind);
      auto csr = make_request(key, settings_.name);
      if (!csr) return std::unexpected(csr.error());
      SignOptions options{
          .name = settings_.name,
          .lifetime = std::chrono::floor<std::chrono::seconds>(settings_.certificates.lifetime),
          .now = now};
      auto leaf = authority->sign(as_bytes(*csr), options, around_.random);
      if (!leaf) return std::unexpected(leaf.error());
      if (!hurries && leaf->not_after() <= current.not_after())
        return fail(Errc::denied, "the group's authority itself ends at {}",
                    to_rfc3339(authority->certificate().not_after()));
      TlsCredential credential{std::move(key), {*leaf, authority->certificate()}};
      if (auto installed = StateFolder(around_.disk, settings_.state_dir).install_tls(credential);
          !installed)
        return std::unexpected(installed.error());
      if (auto noted = store_->audit({now, settings_.name, "certificate renewed", leaf->subject(),
                                      fmt::format("serial {}, valid until {}", leaf->serial(),
                                                  to_rfc3339(leaf->not_after()))});
          !noted)
        log_.warning("the renewal of our certificate is not in the audit list: {}",
                     noted.error().message);
      return credential;
    }();
    core_.post([this, alive, made, now] {
      if (!*alive) return;
      renewing_ = false;
      if (made) return use(*made, tls_->anchors());
      renewal_.failed(now);
      if (hook_ && made.error().code == Errc::denied) hook_->issued_elsewhere();
      const std::string& words = made.error().message;
      if (words != last_certificate_words_)
        log_.warning("our certificate is not renewed: {}; it is valid until {}", words,
                     to_rfc3339(tls_->credential()->chain.front().not_after()));
      last_certificate_words_ = words;
    });
  });
}

void Server::take_certificate() {
  StateFolder folder(around_.disk, settings_.state_dir);
  auto credential = folder.tls();
  auto anchors = folder.anchors();
  if (credential && anchors)
    use(*credential, *anchors);
  else
    log_.error("the certificate is not taken over: {}",
               credential ? anchors.error().message : credential.error().message);
}

void Server::use(const TlsCredential& credential, const Anchors& anchors) {
  TlsContext::Options options;
  options.now = [&clock = around_.clock] { return clock.wall(); };
  const bool lists_changed = revocation_files_.read(around_.disk, settings_.certificates, anchors,
                                                    credential.chain, around_.clock.wall());
  options.revocations = revocation_files_.lists();
  auto tls = around_.network.make_tls(credential, anchors, options);
  if (!tls) {
    log_.error("the certificate is not taken over: {}", tls.error().message);
    return;
  }
  const Certificate& leaf = credential.chain.front();
  const bool other = leaf != tls_->credential()->chain.front();
  tls_ = *tls;
  children_->set_tls(tls_);
  // `anchors` may have been the former context's.
  store_thread_->post([this, now = tls_->anchors()] { service_->set_anchors(now); });
  if (lists_changed) {
    children_->refuse_denied();
    look_at_certificate();
  }
  if (!other) return;
  renewal_.use(leaf);
  if (hook_) hook_->use(leaf);
  if (hook_ && !settings_.certificates.renew) hook_->issued_elsewhere();
  last_certificate_words_.clear();
  log_.info("certificate {} is used from now on, valid until {}", leaf.serial(),
            to_rfc3339(leaf.not_after()));
  store_thread_->post([this, leaf, own = own_facts()] {
    service_->set_certificate(leaf.mark(), own.certificate_not_after);
    node_watch_->set_own(own);
  });
}

}  // namespace postern
