#include "node/join.h"

#include <algorithm>

#include "identity/authority.h"
#include "node/signed.h"
#include "node/trust.h"

namespace postern::node {
namespace {

constexpr std::string_view kAskContext = "postern join v1";
constexpr std::string_view kReplyContext = "postern join reply v1";
constexpr std::size_t kNonceBytes = 32;
constexpr std::size_t kTokenIdBytes = 8;
constexpr std::size_t kNameBytesMax = 253;
constexpr int kDelegationsMax = 64;
constexpr int kChainMax = kChainDepthMax + 2;

std::optional<Signature> signature_of(std::string_view bytes) {
  Signature signature{};
  if (bytes.size() != signature.size()) return std::nullopt;
  std::ranges::copy(as_bytes(bytes), signature.begin());
  return signature;
}

Result<std::vector<Certificate>> certificates_of(
    const google::protobuf::RepeatedPtrField<std::string>& ders, int max) {
  if (ders.size() > max)
    return fail(Errc::invalid, "{} certificates; the limit is {}", ders.size(), max);
  std::vector<Certificate> certificates;
  for (const std::string& der : ders) {
    auto certificate = Certificate::from_der(as_bytes(der));
    if (!certificate) return std::unexpected(certificate.error());
    certificates.push_back(std::move(*certificate));
  }
  return certificates;
}

}  // namespace

const char* to_string(JoinReason reason) {
  switch (reason) {
    case JoinReason::unknown:
      return "unknown";
    case JoinReason::revoked:
      return "revoked";
    case JoinReason::expired:
      return "expired";
    case JoinReason::used_up:
      return "used_up";
    case JoinReason::wrong_name:
      return "wrong_name";
    case JoinReason::wrong_role:
      return "wrong_role";
    case JoinReason::bad_request:
      return "bad_request";
    case JoinReason::clash:
      return "clash";
    case JoinReason::denied:
      return "denied";
    case JoinReason::replayed:
      return "replayed";
    case JoinReason::busy:
      return "busy";
  }
  return "another reason";
}

// ---- The machine's side

Result<Joining> Joining::create(JoinToken token, Machine machine) {
  auto csr = make_request(machine.tls_key, machine.name);
  if (!csr) return std::unexpected(csr.error());
  PrivateKey key = token.key();
  return Joining(std::move(token), std::move(machine), std::move(key), std::move(*csr));
}

std::string Joining::ask(WallTime now, Random& random) {
  number_ = std::max(to_ms(now), number_ + 1);
  std::array<std::byte, kNonceBytes> nonce{};
  random.fill(nonce);
  wire::pb::JoinAsk ask;
  ask.set_token_id(
      std::string(as_text(ByteView(token_key_.public_key().fingerprint()).first(kTokenIdBytes))));
  ask.set_identity_key(field_of(machine_.identity.public_key().spki()));
  ask.set_csr(csr_);
  ask.set_name(machine_.name);
  ask.set_role(static_cast<std::uint32_t>(machine_.role));
  ask.set_nonce(field_of(nonce));
  ask.set_number(number_);
  wire::pb::JoinRequest request;
  request.set_ask(ask.SerializeAsString());
  const ByteView bytes = as_bytes(request.ask());
  asked_ = sha256(bytes);
  request.set_token_signature(field_of(token_key_.sign(kAskContext, bytes)));
  request.set_identity_signature(field_of(machine_.identity.sign(kAskContext, bytes)));
  return request.SerializeAsString();
}

Result<std::variant<Joining::Member, Joining::Refused>> Joining::on_answer(std::string_view answer,
                                                                           WallTime now) {
  wire::pb::JoinAnswer message;
  if (answer.size() > kJoinAnswerBytesMax ||
      !message.ParseFromArray(answer.data(), static_cast<int>(answer.size())))
    return fail(Errc::invalid, "the answer is none of a Postern gateway");
  auto root = PublicKey::from_spki(as_bytes(message.root()));
  if (!root || root->fingerprint() != token_.root_sha256)
    return fail(Errc::denied, "the answer comes from another management group than {}",
                token_.group);
  auto reply = believed(message, *root, now);
  if (!reply) return std::unexpected(reply.error());
  if (reply->outcome() == static_cast<std::uint32_t>(JoinOutcome::refused)) {
    // From now on higher than what the group knows: our clock may have been set back.
    number_ = std::max(number_, reply->number());
    return Refused{static_cast<JoinReason>(reply->reason()), reply->words(),
                   std::chrono::milliseconds(reply->retry_after_ms())};
  }
  auto joined = member(*reply, *root, now);
  if (!joined) return std::unexpected(joined.error());
  return std::move(*joined);
}

Result<wire::pb::JoinReply> Joining::believed(const wire::pb::JoinAnswer& answer,
                                              const PublicKey& root, WallTime now) const {
  if (answer.delegations_size() > kDelegationsMax)
    return fail(Errc::invalid, "the answer has {} delegations; the limit is {}",
                answer.delegations_size(), kDelegationsMax);
  const Log silent(Level::error, [](Level, std::string_view) {});
  Trust trust(silent, root, {}, [](const auto&, const auto&) {});
  for (const auto& delegation : answer.delegations())
    if (auto taken = trust.take(delegation, now); !taken) return std::unexpected(taken.error());
  if (auto good = trust.believe(answer.reply(), kReplyContext, Scope::documents, now); !good)
    return std::unexpected(good.error());
  wire::pb::JoinReply reply;
  if (!reply.ParseFromString(answer.reply().body()))
    return fail(Errc::invalid, "the answer cannot be read");
  if (digest_of_field(reply.ask_sha256()) != asked_)
    return fail(Errc::denied, "the answer is to another request");
  return reply;
}

Result<Joining::Member> Joining::member(const wire::pb::JoinReply& reply, const PublicKey& root,
                                        WallTime now) const {
  auto chain = certificates_of(reply.chain(), kChainMax);
  if (!chain) return std::unexpected(chain.error());
  auto anchors = certificates_of(reply.anchors(), static_cast<int>(kJoinAnchorsMax));
  if (!anchors) return std::unexpected(anchors.error());
  std::erase_if(*anchors, [&](const Certificate& anchor) {
    return std::ranges::find(token_.anchors_sha256, anchor.fingerprint()) ==
           token_.anchors_sha256.end();
  });
  if (anchors->empty())
    return fail(Errc::denied,
                "the group's certificate authority is another one than when the token was made; "
                "make a new token");
  auto trusted = Anchors::from_certificates(std::move(*anchors));
  if (!trusted) return std::unexpected(trusted.error());
  // By the server's clock: one that is wrong here is named later, by everything else.
  const WallTime server_time = wall_from_ms(reply.time_ms());
  if (const auto wrong = why_refused(*chain, *trusted, {.now = server_time, .name = machine_.name}))
    return fail(Errc::denied, "the certificate that came is not taken: {}{}", wrong->words,
                static_cast<std::size_t>(reply.anchors_size()) > trusted->certificates().size()
                    ? "; the group trusts another certificate authority besides since the token "
                      "was made: make a new token"
                    : "");
  if (!machine_.tls_key.matches(chain->front()))
    return fail(Errc::denied, "the certificate that came is for another key");
  return Member{reply.outcome() == static_cast<std::uint32_t>(JoinOutcome::approved),
                TlsCredential{machine_.tls_key, std::move(*chain)}, std::move(*trusted), root,
                std::chrono::duration_cast<std::chrono::milliseconds>(server_time - now)};
}

// ---- The server's side

bool JoinAsk::signed_by(const PublicKey& token_key) const {
  return token_key.verifies(kAskContext, as_bytes(bytes), token_signature);
}

Result<JoinAsk> read_join_request(std::string_view body) {
  wire::pb::JoinRequest request;
  wire::pb::JoinAsk ask;
  if (body.size() > kJoinBytesMax)
    return fail(Errc::invalid, "a request of {} bytes; the limit is {}", body.size(),
                kJoinBytesMax);
  if (!request.ParseFromArray(body.data(), static_cast<int>(body.size())) ||
      !ask.ParseFromString(request.ask()) || ask.token_id().size() != kTokenIdBytes ||
      ask.nonce().size() != kNonceBytes || ask.name().size() > kNameBytesMax ||
      ask.role() < static_cast<std::uint32_t>(Role::agent) ||
      ask.role() > static_cast<std::uint32_t>(Role::server))
    return fail(Errc::invalid, "a request that cannot be read");
  auto identity = PublicKey::from_spki(as_bytes(ask.identity_key()));
  if (!identity) return fail(identity.error(), "the identity key");
  const auto by_identity = signature_of(request.identity_signature());
  const auto by_token = signature_of(request.token_signature());
  if (!by_identity || !by_token ||
      !identity->verifies(kAskContext, as_bytes(request.ask()), *by_identity))
    return fail(Errc::denied, "a request that its identity key has not signed");
  JoinAsk read{to_hex(as_bytes(ask.token_id())),
               *identity,
               ask.csr(),
               ask.name(),
               static_cast<Role>(ask.role()),
               ask.number(),
               sha256(as_bytes(request.ask())),
               request.ask(),
               *by_token};
  return read;
}

std::string join_answer(const wire::pb::JoinReply& reply, const PublicKey& root,
                        const std::vector<wire::pb::Signed>& delegations, const PrivateKey& key,
                        std::uint64_t key_number) {
  wire::pb::JoinAnswer answer;
  answer.set_root(field_of(root.spki()));
  for (const auto& delegation : delegations) *answer.add_delegations() = delegation;
  *answer.mutable_reply() = sign(key, kReplyContext, reply.SerializeAsString(), key_number);
  return answer.SerializeAsString();
}

}  // namespace postern::node
