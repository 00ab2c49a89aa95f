#include "base/node_id.h"

#include <algorithm>

namespace postern {

Result<NodeId> parse_node_id(std::string_view hex) {
  auto bytes = from_hex(hex);
  if (!bytes || bytes->size() != sizeof(NodeId::bytes))
    return fail(Errc::invalid, "'{}' is not a node id; it has 32 hex digits", hex);
  NodeId id;
  std::copy(bytes->begin(), bytes->end(), id.bytes.begin());
  return id;
}

}  // namespace postern
