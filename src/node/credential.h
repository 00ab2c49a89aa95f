#pragma once

#include "net/tls.h"
#include "node/self.h"

namespace postern::node {

inline constexpr std::string_view kCredentialContext = "postern credential v1";

/// A certificate on an open channel (channel.md#W60). `dialled`: our side of the channel.
wire::Message credential_message(const Self& self, const TlsCredential& credential,
                                 const Exporter& exporter, bool dialled, WallTime now);

/// What a neighbour has shown after it was verified.
struct ShownCredential {
  Digest tls_key{};
  std::vector<Certificate> chain;  // leaf first, never empty
};

/// Held against what hello and welcome are held against, but for the deny list. `dialled`: we
/// dialled this neighbour.
std::expected<ShownCredential, Refusal> verify_credential(const wire::pb::Credential& credential,
                                                          const Neighbour& who,
                                                          const Exporter& exporter, bool dialled,
                                                          const TlsContext& tls, const Self& self);

/// After this long past the end of the certificate shown last, a connection ends (rule T6).
inline constexpr Duration kExpiryGrace = std::chrono::hours(24);

/// The refusal for a neighbour whose certificate is over for longer than that.
std::optional<Refusal> refusal_for_age(const Neighbour& who, const Certificate& shown,
                                       Duration grace, WallTime now);

}  // namespace postern::node
