#include "node/self.h"

#include <algorithm>

#include "base/utf8.h"
#include "identity/certificate.h"
#include "node/signed.h"

namespace postern::node {
namespace {

constexpr std::string_view kIncarnationFile = "incarnation";

Bytes proof_bytes(const Exporter& exporter, bool dialled) {
  Writer out;
  out.bytes(exporter).u8(dialled ? 0 : 1);
  return out.take();
}

Refusal bad_proof(const std::string& name, const char* what) {
  return {wire::Refusal::bad_proof,
          fmt::format(
              "{} does not prove its identity: {}; if its state folder was copied, set it up anew",
              name, what),
          std::chrono::minutes(5)};
}

/// How words name a peer that has proved nothing yet.
std::string claimed_name(const std::string& name) {
  return normal_fqdn(name) == name ? name : "the peer";
}

/// Of a group's name, as a peer claims it, what may stand in our words.
std::string claimed_group(const std::string& group) {
  constexpr std::size_t kShownMax = 64;
  std::string shown = to_utf8(group.substr(0, kShownMax));
  for (char& c : shown)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return shown;
}

template <typename Message>
std::expected<Neighbour, Refusal> verify(const Message& m, bool dialled,
                                         const CertificateMark& certificate,
                                         const Exporter& exporter, const Self& self) {
  if (m.group() != self.group)
    return std::unexpected(
        Refusal{wire::Refusal::wrong_group,
                fmt::format("{} belongs to the management group '{}', this is '{}'",
                            claimed_name(m.name()), claimed_group(m.group()), self.group),
                std::chrono::minutes(5)});
  // One node, one spelling: certificates match in either case, registries and parent lists do not.
  if (const auto name = normal_fqdn(m.name()); !name || *name != m.name())
    return std::unexpected(
        Refusal{wire::Refusal::wrong_name,
                name ? fmt::format("it calls itself {}; names are lower case: {}", m.name(), *name)
                     : fmt::format("its name is none: {}", name.error().message),
                std::chrono::minutes(5)});
  auto key = PublicKey::from_spki(as_bytes(m.identity_key()));
  if (!key) return std::unexpected(bad_proof(m.name(), "its identity key cannot be read"));

  wire::pb::Statement statement;
  if (!statement.ParseFromString(m.statement().body()))
    return std::unexpected(bad_proof(m.name(), "its statement cannot be read"));
  if (!verifies(*key, kStatementContext, m.statement()))
    return std::unexpected(bad_proof(m.name(), "its statement is signed by another key"));
  if (statement.name() != m.name())
    return std::unexpected(bad_proof(m.name(), "its statement is for another name"));
  if (digest_of_field(statement.tls_key_sha256()) != certificate.tls_key)
    return std::unexpected(bad_proof(m.name(), "its statement is for another TLS key"));
  if (!statement.group_id().empty() && self.group_id &&
      node_id_of_field(statement.group_id()) != self.group_id)
    return std::unexpected(
        Refusal{wire::Refusal::wrong_group,
                fmt::format("{} has pinned another group root than ours; import the group file of "
                            "the management group '{}' on one of the two",
                            m.name(), self.group),
                std::chrono::minutes(5)});

  Signature signature{};
  if (m.proof().size() != signature.size())
    return std::unexpected(bad_proof(m.name(), "its proof is missing"));
  std::memcpy(signature.data(), m.proof().data(), signature.size());
  if (!key->verifies(kChannelContext, proof_bytes(exporter, dialled), signature))
    return std::unexpected(bad_proof(m.name(), "its proof is for another connection"));
  if (m.role() < 1 || m.role() > 3)
    return std::unexpected(
        Refusal{wire::Refusal::protocol, fmt::format("role {} is unknown", m.role())});
  return Neighbour{m.name(),       static_cast<Role>(m.role()), key->node_id(), *key, certificate,
                   m.incarnation()};
}

}  // namespace

const char* to_string(Role role) {
  switch (role) {
    case Role::agent:
      return "agent";
    case Role::gateway:
      return "gateway";
    case Role::server:
      return "server";
  }
  return "unknown";
}

wire::pb::Signed Self::statement(const Digest& tls_key, WallTime now) const {
  wire::pb::Statement statement;
  statement.set_number(static_cast<std::uint64_t>(to_ms(now)));
  if (group_id) statement.set_group_id(field_of(group_id.bytes));
  statement.set_name(name);
  statement.set_tls_key_sha256(field_of(tls_key));
  statement.set_issued_ms(to_ms(now));
  return sign(identity, kStatementContext, statement.SerializeAsString());
}

std::string Self::proof(const Exporter& exporter, bool dialled) const {
  return field_of(identity.sign(kChannelContext, proof_bytes(exporter, dialled)));
}

wire::pb::Hello Self::hello(const Digest& tls_key, const Exporter& exporter, WallTime now) const {
  wire::pb::Hello hello;
  hello.set_version_min(kVersionMin);
  hello.set_version_max(kVersionMax);
  hello.set_group(group);
  hello.set_role(static_cast<std::uint32_t>(role));
  hello.set_claim(1);  // child
  hello.set_name(name);
  hello.set_identity_key(field_of(identity.public_key().spki()));
  *hello.mutable_statement() = statement(tls_key, now);
  hello.set_proof(proof(exporter, true));
  hello.set_incarnation(incarnation);
  hello.set_predecessor(predecessor);
  hello.set_k(0);
  hello.set_n(1);
  if (group_id) hello.set_pinned_root_sha256(field_of(root_sha256));
  hello.set_software(kSoftware);
  return hello;
}

Result<std::pair<std::uint64_t, std::uint64_t>> next_incarnation(Disk& disk,
                                                                 const std::filesystem::path& state,
                                                                 Random& random) {
  const auto file = state / kIncarnationFile;
  std::uint64_t predecessor = 0;
  auto there = disk.exists(file);
  if (!there) return std::unexpected(there.error());
  if (*there) {
    auto bytes = disk.read_file(file, 64);
    if (!bytes && bytes.error().code != Errc::invalid) return std::unexpected(bytes.error());
    if (!bytes) there = false;  // not what we wrote: begun anew
    if (bytes) predecessor = Reader(*bytes).u64();
  }
  std::uint64_t incarnation = 0;
  while (incarnation == 0 || incarnation == predecessor) incarnation = random.u64();
  Writer out;
  out.u64(incarnation);
  if (!*there) {
    auto written = disk.write_file(file, out.written(), 0600);
    if (!written) return std::unexpected(written.error());
    return std::pair(incarnation, predecessor);
  }
  // In place: a restart must not need space on the very disk that the restart is to empty (rule
  // D7).
  auto opened = disk.open(file, Disk::Open::write_existing);
  if (!opened) return std::unexpected(opened.error());
  if (auto written = (*opened)->write_at(0, out.written()); !written)
    return std::unexpected(written.error());
  if (auto synced = (*opened)->sync(); !synced) return std::unexpected(synced.error());
  return std::pair(incarnation, predecessor);
}

Result<std::uint64_t> last_incarnation(Disk& disk, const std::filesystem::path& state) {
  const auto bytes = disk.read_file(state / kIncarnationFile, 64);
  if (!bytes) return std::unexpected(bytes.error());
  return Reader(*bytes).u64();
}

std::expected<Neighbour, Refusal> verify_hello(const wire::pb::Hello& hello,
                                               const CertificateMark& certificate,
                                               const Exporter& exporter, const Self& self) {
  if (hello.version_min() > kVersionMax || hello.version_max() < kVersionMin)
    return std::unexpected(Refusal{
        wire::Refusal::version,
        fmt::format(
            "{} speaks versions {} to {} of the channel, this node {} to {}; update the older one",
            claimed_name(hello.name()), hello.version_min(), hello.version_max(), kVersionMin,
            kVersionMax),
        std::chrono::minutes(5)});
  return verify(hello, true, certificate, exporter, self);
}

std::expected<Neighbour, Refusal> verify_welcome(const wire::pb::Welcome& welcome,
                                                 const CertificateMark& certificate,
                                                 const Exporter& exporter, const Self& self) {
  if (welcome.version() < kVersionMin || welcome.version() > kVersionMax)
    return std::unexpected(Refusal{
        wire::Refusal::version,
        fmt::format("{} chose version {} of the channel, this node speaks {} to {}",
                    claimed_name(welcome.name()), welcome.version(), kVersionMin, kVersionMax),
        std::chrono::minutes(5)});
  return verify(welcome, false, certificate, exporter, self);
}

NodeId node_id_of_field(std::string_view bytes) {
  NodeId id;
  if (bytes.size() == id.bytes.size()) std::memcpy(id.bytes.data(), bytes.data(), bytes.size());
  return id;
}

Digest digest_of_field(std::string_view bytes) {
  Digest digest{};
  if (bytes.size() == digest.size()) std::memcpy(digest.data(), bytes.data(), bytes.size());
  return digest;
}

wire::Message message_of(wire::Type type, const google::protobuf::MessageLite& body) {
  Bytes bytes(body.ByteSizeLong());
  body.SerializeToArray(bytes.data(), static_cast<int>(bytes.size()));
  return wire::make_message(type, std::move(bytes));
}

}  // namespace postern::node
