#include "server/rollover.h"

#include <algorithm>

#include "server/node_watch.h"

namespace postern {

std::vector<Digest> names_under(const Certificate& former,
                                const std::vector<Certificate>& issuing) {
  std::vector<Digest> names{former.subject_sha256()};
  for (const Certificate& one : issuing)
    if (one.mark().issuer == former.subject_sha256()) names.push_back(one.subject_sha256());
  return names;
}

std::string why_waiting(const store::Node& node, const RolloverNeeds& needs) {
  if (std::ranges::find(needs.former_names, node.certificate.issuer) != needs.former_names.end())
    return "uses a certificate of the former CA";
  const auto head = newest_head(node);
  if (!head) return "has not said yet whom it trusts";
  if (head->pinned_root_sha256().empty())
    return "has no group root pinned and takes no word of the group; import the group file there";
  for (const auto& known : head->documents())
    if (known.type() == static_cast<std::uint32_t>(node::DocumentType::anchors) &&
        node::Edition{known.generation(), known.number()} >= needs.anchors)
      return "";
  return "does not trust the next CA yet";
}

}  // namespace postern
