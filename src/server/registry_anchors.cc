// Whom the group trusts to name its nodes: the document that says so.

#include <algorithm>

#include "server/registry.h"

namespace postern {
namespace {

constexpr auto kAnchors = static_cast<std::uint32_t>(node::DocumentType::anchors);

}  // namespace

Result<std::optional<Registry::PublishedAnchors>> Registry::anchors() {
  auto documents = store_.documents(kAnchors);
  if (!documents) return std::unexpected(documents.error());
  for (const store::StoredDocument& stored : *documents) {
    wire::pb::Signed document;
    wire::pb::DocumentBody body;
    if (stored.audience || !document.ParseFromString(to_string(stored.document)) ||
        !body.ParseFromString(document.body()))
      continue;
    auto list = node::AnchorList::from_payload(as_bytes(body.payload()));
    if (!list) return fail(list.error(), "the group's last word about its anchors");
    return PublishedAnchors{std::move(*list), {stored.generation, stored.number}};
  }
  return std::nullopt;
}

/// Groups of earlier versions have delegations that are not for the CA (document.md#G10).
Result<> Registry::may_sign_anchors() {
  auto documents = store_.documents(static_cast<std::uint32_t>(node::DocumentType::delegation));
  if (!documents) return std::unexpected(documents.error());
  for (const store::StoredDocument& stored : *documents) {
    wire::pb::Signed document;
    wire::pb::DocumentBody body;
    wire::pb::Delegation delegation;
    if (stored.number != delegate_.number ||
        !document.ParseFromString(to_string(stored.document)) ||
        !body.ParseFromString(document.body()) || !delegation.ParseFromString(body.payload()))
      continue;
    if (std::ranges::find(delegation.scopes(),
                          static_cast<std::uint32_t>(node::Scope::authority)) !=
        delegation.scopes().end())
      return {};
    return fail(Errc::denied,
                "delegation {} of this server is not for the group's CA: its group was made by a "
                "version that could not roll it over",
                delegate_.number);
  }
  return fail(Errc::denied, "delegation {} of this server is not in the store", delegate_.number);
}

Result<> Registry::publish_anchors(const node::AnchorList& list, const store::AuditEntry& entry) {
  auto known = anchors();
  if (!known) return std::unexpected(known.error());
  if (*known && (*known)->list == list) return {};
  auto issued = issue(node::DocumentType::anchors, std::nullopt, list.payload());
  if (!issued) return std::unexpected(issued.error());
  if (auto saved = store_.save_document(issued->stored); !saved) return saved;
  documents_.push_back(std::move(issued->document));
  log_.info("{}: {}", entry.what, entry.detail);
  return store_.audit(entry);
}

}  // namespace postern
