#pragma once

#include <array>
#include <filesystem>
#include <string>

#include "base/certificate_mark.h"
#include "base/clock.h"
#include "base/disk.h"
#include "base/random.h"
#include "identity/key.h"
#include "wire/channel.pb.h"
#include "wire/frame.h"

namespace postern::node {

enum class Role : std::uint32_t { agent = 1, gateway = 2, server = 3 };
const char* to_string(Role role);

inline constexpr std::uint32_t kVersionMin = 0;  // of the channel (channel.md#W26)
inline constexpr std::uint32_t kVersionMax = 0;
inline constexpr std::string_view kStatementContext = "postern statement v1";
inline constexpr std::string_view kChannelContext = "postern channel v1";
inline constexpr std::string_view kHeadContext = "postern head v1";
inline constexpr const char* kSoftware = "postern 0.1.0";

using Exporter = std::array<std::byte, 32>;

/// Who this node is, and how it proves it to a neighbour. Immutable after start-up.
struct Self {
  Role role = Role::agent;
  std::string group;
  std::string name;
  PrivateKey identity;
  NodeId id;
  NodeId group_id;  // zeros while unpinned
  Digest root_sha256{};
  std::uint64_t incarnation = 0;
  std::uint64_t predecessor = 0;

  /// Binds name and TLS key to the identity key (channel.md#W21).
  wire::pb::Signed statement(const Digest& tls_key, WallTime now) const;
  /// Ties the identity key to this connection (W22).
  std::string proof(const Exporter& exporter, bool dialled) const;
  /// What a child says first on a connection that it dialled, showing `tls_key`.
  wire::pb::Hello hello(const Digest& tls_key, const Exporter& exporter, WallTime now) const;
};

/// Draws a new incarnation and writes it down before anybody hears of it (rule T3). Returns
/// {incarnation, predecessor}.
Result<std::pair<std::uint64_t, std::uint64_t>> next_incarnation(Disk& disk,
                                                                 const std::filesystem::path& state,
                                                                 Random& random);

/// The one drawn last; `unavailable` when there is none yet.
Result<std::uint64_t> last_incarnation(Disk& disk, const std::filesystem::path& state);

/// What hello and welcome have in common, after it was verified against the connection.
struct Neighbour {
  std::string name;
  Role role = Role::agent;
  NodeId id;
  std::optional<PublicKey> key;
  CertificateMark certificate;  // shown last
  std::uint64_t incarnation = 0;
};

struct Refusal {
  wire::Refusal reason = wire::Refusal::protocol;
  std::string words;
  std::chrono::milliseconds retry_after{30'000};
};

/// Statement and proof of a peer that shows `certificate` (W21, W22). `dialled` is the peer's
/// side.
std::expected<Neighbour, Refusal> verify_hello(const wire::pb::Hello& hello,
                                               const CertificateMark& certificate,
                                               const Exporter& exporter, const Self& self);
std::expected<Neighbour, Refusal> verify_welcome(const wire::pb::Welcome& welcome,
                                                 const CertificateMark& certificate,
                                                 const Exporter& exporter, const Self& self);

/// Bytes of a message of ours that are always of its size, or zeros.
NodeId node_id_of_field(std::string_view bytes);
Digest digest_of_field(std::string_view bytes);
template <typename Array>
std::string field_of(const Array& bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}
wire::Message message_of(wire::Type type, const google::protobuf::MessageLite& body);

}  // namespace postern::node
