#pragma once

#include <string>
#include <vector>

#include "identity/certificate.h"
#include "node/trust.h"
#include "server/group.h"
#include "store/store.h"

namespace postern {

/// How far the nodes have come in a roll-over of the CA: decided by their own signed heads alone.
/// Values in, values out.
struct RolloverNeeds {
  node::Edition anchors{};           // the word that a node must have taken over
  std::vector<Digest> former_names;  // of the CAs that no certificate in use may be issued by
};

/// The former root and the issuing authorities under it, by the SHA-256 of their names.
std::vector<Digest> names_under(const Certificate& former, const std::vector<Certificate>& issuing);

/// Why the node is not as far as is needed; "" when it is.
std::string why_waiting(const store::Node& node, const RolloverNeeds& needs);

}  // namespace postern
