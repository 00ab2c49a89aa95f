#pragma once

#include <cstdint>

#include "base/node_id.h"

namespace postern::sim {

/// The simulator links fake_key.cc in place of identity/key.cc. Keys look like P-256 keys
/// to everybody who handles their bytes, but a signature is a hash over the secret, and the secret
/// stands in the public half: fast, and the same for the same seed. Nobody in the simulation may
/// forge by that knowledge; the captured gateway signs with its own key only.
///
/// Keys that PrivateKey::generate() makes from now on follow from `seed`. One sequence for the
/// process, because generate() has no other door: one run at a time.
void seed_keys(std::uint64_t seed);

}  // namespace postern::sim
