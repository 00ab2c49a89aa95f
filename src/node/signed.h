#pragma once

#include <string>
#include <string_view>

#include "identity/key.h"
#include "wire/channel.pb.h"

namespace postern::node {

/// Whether `key` signed `message` in this context: 64 bytes over (context, body as it came), which
/// nobody re-encodes (document.md#G2).
bool verifies(const PublicKey& key, std::string_view context, const wire::pb::Signed& message);

/// `signer`: number of the delegation whose key it is; 0 for a group root or an identity key.
wire::pb::Signed sign(const PrivateKey& key, std::string_view context, std::string body,
                      std::uint64_t signer = 0);

}  // namespace postern::node
