#include "node/credential.h"

#include "base/quantity.h"
#include "node/signed.h"

namespace postern::node {
namespace {

constexpr std::size_t kChainMax = 10;

/// Ties certificate and statement to this connection and to the side that shows them.
Bytes proof_bytes(const Exporter& exporter, bool dialled, const std::string& statement) {
  Writer out;
  out.bytes(exporter).u8(dialled ? 0 : 1).bytes(sha256(as_bytes(statement)));
  return out.take();
}

}  // namespace

wire::Message credential_message(const Self& self, const TlsCredential& credential,
                                 const Exporter& exporter, bool dialled, WallTime now) {
  wire::pb::Credential message;
  for (const Certificate& certificate : credential.chain)
    message.add_chain(field_of(certificate.der()));
  *message.mutable_statement() = self.statement(credential.key.spki_sha256(), now);
  message.set_proof(field_of(credential.key.sign(
      kCredentialContext, proof_bytes(exporter, dialled, message.statement().body()))));
  return message_of(wire::Type::credential, message);
}

std::expected<ShownCredential, Refusal> verify_credential(const wire::pb::Credential& credential,
                                                          const Neighbour& who,
                                                          const Exporter& exporter, bool dialled,
                                                          const TlsContext& tls, const Self& self) {
  const auto refuse = [](wire::Refusal reason, std::string words) {
    return std::unexpected(Refusal{reason, std::move(words), std::chrono::minutes(1)});
  };
  ShownCredential shown;
  if (credential.chain_size() > static_cast<int>(kChainMax))
    return refuse(wire::Refusal::protocol,
                  fmt::format("{} shows a chain of {} certificates, the limit is {}", who.name,
                              credential.chain_size(), kChainMax));
  for (const std::string& der : credential.chain()) {
    auto certificate = Certificate::from_der(as_bytes(der));
    if (!certificate)
      return refuse(wire::Refusal::protocol, "a certificate that cannot be read is shown");
    shown.chain.push_back(std::move(*certificate));
  }
  const auto wrong = tls.objection(shown.chain, dialled ? std::optional(who.name) : std::nullopt);
  if (wrong) return refuse(refusal_of(wrong->reason), wrong->words);
  const Certificate& leaf = shown.chain.front();
  if (!name_matches(leaf, who.name))
    return refuse(wire::Refusal::wrong_name,
                  fmt::format("{} shows a certificate that is not for its name", who.name));
  shown.tls_key = leaf.spki_sha256();

  wire::pb::Statement statement;
  if (!statement.ParseFromString(credential.statement().body()) || !who.key ||
      !node::verifies(*who.key, kStatementContext, credential.statement()) ||
      statement.name() != who.name ||
      digest_of_field(statement.tls_key_sha256()) != shown.tls_key ||
      (!statement.group_id().empty() && self.group_id &&
       node_id_of_field(statement.group_id()) != self.group_id))
    return refuse(
        wire::Refusal::bad_proof,
        fmt::format("{} shows a certificate without its own statement about it", who.name));
  if (!leaf.verifies(kCredentialContext,
                     proof_bytes(exporter, !dialled, credential.statement().body()),
                     as_bytes(credential.proof())))
    return refuse(wire::Refusal::bad_proof,
                  fmt::format("{} shows a certificate whose key it does not have, or another "
                              "connection's",
                              who.name));
  return shown;
}

std::optional<Refusal> refusal_for_age(const Neighbour& who, const Certificate& shown,
                                       Duration grace, WallTime now) {
  if (now <= shown.not_after() + std::chrono::duration_cast<std::chrono::milliseconds>(grace))
    return std::nullopt;
  return Refusal{wire::Refusal::expired,
                 fmt::format("the certificate that {} has shown ended at {}, more than {} ago",
                             who.name, to_rfc3339(shown.not_after()), format_duration(grace)),
                 std::chrono::minutes(1)};
}

}  // namespace postern::node
