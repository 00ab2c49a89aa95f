// What the registry takes back from its nodes after the store was set back (rule D10).

#include <algorithm>
#include <charconv>

#include "server/numbers.h"
#include "server/registry.h"

namespace postern {
namespace {

using node::DocumentType;
using store::Standing;

constexpr const char* kAdopted = "adopted after the store was set back";
constexpr DocumentType kNumbered[] = {DocumentType::approval, DocumentType::deny,
                                      DocumentType::configuration, DocumentType::anchors};

std::uint32_t code(DocumentType type) { return static_cast<std::uint32_t>(type); }

std::string set_backs_key(std::uint32_t type) { return fmt::format("set_backs.{}", type); }

store::StoredDocument stored_form(const wire::pb::Signed& document,
                                  const wire::pb::DocumentBody& body) {
  std::optional<NodeId> audience;
  if (!body.audience().empty()) audience = node::node_id_of_field(body.audience());
  return {body.type(), audience, body.generation(), body.number(),
          to_bytes(std::string_view(document.SerializeAsString()))};
}

Standing standing_for(std::uint32_t reason) {
  return reason == 2 ? Standing::rejected : Standing::removed;  // document.md#G13
}

}  // namespace

Result<Registry::Adopted> Registry::adopt(const wire::pb::Signed& document) {
  wire::pb::DocumentBody body;
  if (!body.ParseFromString(document.body()))
    return fail(Errc::invalid, "a document that was shown cannot be read");
  auto generation = store_.generation();
  if (!generation) return std::unexpected(generation.error());
  auto stored = store_.documents(body.type());
  if (!stored) return std::unexpected(stored.error());
  auto known_set_backs = set_backs(body.type());
  if (!known_set_backs) return std::unexpected(known_set_backs.error());
  const Rewind rewind = judge_document(body, *generation, *stored, *known_set_backs);
  Adopted adopted;
  if (!rewind.adopt) return adopted;

  if (rewind.open_generation) {
    auto opened = open_generation(*rewind.open_generation);
    if (!opened) return std::unexpected(opened.error());
    adopted.opened = *opened;
  }
  Result<> done;
  switch (static_cast<DocumentType>(body.type())) {
    case DocumentType::deny:
      done = adopt_deny_list(document, body, adopted);
      break;
    case DocumentType::approval:
      done = adopt_approval(document, body, adopted);
      break;
    default:
      done = store_.save_document(stored_form(document, body));
      adopted.adopted = done.has_value();
      if (done) documents_.push_back(document);
      break;
  }
  if (!done) return std::unexpected(done.error());
  if (!adopted.refused.empty())
    log_.warning("{}; it is not taken over: {}", rewind.words, adopted.refused);
  if (!adopted.adopted && !adopted.opened) return adopted;
  if (auto raised = raise_rolled_back(rewind.words); !raised)
    return std::unexpected(raised.error());
  return adopted;
}

Result<std::optional<std::uint32_t>> Registry::meet_settled(const wire::Settled& shown) {
  auto generation = store_.generation();
  if (!generation) return std::unexpected(generation.error());
  auto held = store_.settled_coverage(shown.coverage.stream);
  if (!held) return std::unexpected(held.error());
  return follow(judge_settled(shown, self_.group_id, *generation, *held));
}

Result<std::optional<std::uint32_t>> Registry::meet_generation(std::uint32_t shown) {
  auto generation = store_.generation();
  if (!generation) return std::unexpected(generation.error());
  return follow(judge_generation(shown, *generation));
}

Result<> Registry::raise_rolled_back(const std::string& words) {
  auto raised = store_.raise_alert(rolled_back_alert(words, clock_.wall()));
  if (!raised) return std::unexpected(raised.error());
  alerts_ = {std::move(*raised)};
  return {};
}

Result<std::optional<std::uint32_t>> Registry::follow(const Rewind& rewind) {
  if (rewind.words.empty()) return std::nullopt;
  std::optional<std::uint32_t> opened;
  if (rewind.open_generation) {
    auto now = open_generation(*rewind.open_generation);
    if (!now) return std::unexpected(now.error());
    opened = *now;
  }
  log_.error("the store was set back: {}", rewind.words);
  if (auto raised = raise_rolled_back(rewind.words); !raised)
    return std::unexpected(raised.error());
  return opened;
}

/// First what the numbers were, then the generation: documents of the new one are told from those
/// that were lost.
Result<std::uint32_t> Registry::open_generation(std::uint32_t generation) {
  for (const DocumentType type : kNumbered)
    if (auto noted = note_set_back(code(type), generation - 1); !noted)
      return std::unexpected(noted.error());
  auto opened = store_.raise_generation(generation);
  if (!opened) return opened;
  log_.error("the store was set back; it is at generation {} now", *opened);
  const store::AuditEntry entry{clock_.wall(), self_.name, "generation opened", "store",
                                fmt::format("generation {}", *opened)};
  if (auto noted = store_.audit(entry); !noted) return std::unexpected(noted.error());
  return opened;
}

/// "1 40 2 55": generation and number, lowest first. What cannot be read counts as nothing.
Result<SetBacks> Registry::set_backs(std::uint32_t type) {
  auto text = store_.setting(set_backs_key(type));
  if (!text) return std::unexpected(text.error());
  SetBacks set_backs;
  if (!*text) return set_backs;
  const char* at = (*text)->data();
  const char* end = at + (*text)->size();
  const auto read = [&](auto& number) {
    while (at != end && *at == ' ') ++at;
    const auto [next, failed] = std::from_chars(at, end, number);
    at = next;
    return failed == std::errc{};
  };
  std::uint32_t generation = 0;
  std::uint64_t number = 0;
  while (at != end) {
    if (!read(generation) || !read(number)) break;
    set_backs[generation] = number;
  }
  return set_backs;
}

Result<> Registry::note_set_back(std::uint32_t type, std::uint32_t generation) {
  auto known = set_backs(type);
  if (!known) return std::unexpected(known.error());
  auto stored = store_.documents(type);
  if (!stored) return std::unexpected(stored.error());
  std::uint64_t given = 0;
  for (const store::StoredDocument& document : *stored) given = std::max(given, document.number);
  known->emplace(generation, given);  // what a first attempt noted holds
  while (known->size() > kSetBacksMax) known->erase(known->begin());
  std::string text;
  for (const auto& [before, number] : *known)
    text += fmt::format("{}{} {}", text.empty() ? "" : " ", before, number);
  return store_.set_setting(set_backs_key(type), text);
}

/// The nodes first, then the list: a list that a crash kept from being saved is shown again, one
/// that was saved before its nodes were marked would be issued anew without them.
Result<> Registry::adopt_deny_list(const wire::pb::Signed& document,
                                   const wire::pb::DocumentBody& body, Adopted& adopted) {
  wire::pb::DenyList list;
  if (!list.ParseFromString(body.payload()))
    return fail(Errc::invalid, "a deny list that was shown cannot be read");
  auto stored = store_.documents(body.type());
  if (!stored) return std::unexpected(stored.error());
  const bool newest = std::none_of(stored->begin(), stored->end(), [&](const auto& known) {
    return !known.audience &&
           Edition{known.generation, known.number} > Edition{body.generation(), body.number()};
  });
  // Beside a newer list of ours it only adds what it knew, unless we have decided since.
  std::optional<WallTime> unless_since;
  if (!newest) unless_since = wall_from_ms(body.issued_ms());
  bool changed = false;
  for (const wire::pb::DenyEntry& entry : list.entries()) {
    auto denied = deny_as_listed(entry, unless_since);
    if (!denied) return std::unexpected(denied.error());
    changed = changed || *denied;
  }
  if (newest) {
    if (auto saved = store_.save_document(stored_form(document, body)); !saved) return saved;
    documents_.push_back(document);
  }
  if (changed) {  // and what only we knew stays on the list
    auto nodes = store_.nodes();
    if (!nodes) return std::unexpected(nodes.error());
    if (auto repaired = repair_deny_list(*nodes); !repaired) return repaired;
  }
  adopted.adopted = newest || changed;
  return {};
}

Result<bool> Registry::deny_as_listed(const wire::pb::DenyEntry& entry,
                                      std::optional<WallTime> unless_since) {
  const NodeId id = node::node_id_of_field(entry.node_id());
  if (!id) return revoke_as_listed(entry);                   // nobody takes that back
  if (entry.reason() == 3) return compromise_as_listed(id);  // nor that
  auto known = store_.node(id);
  if (!known) return std::unexpected(known.error());
  store::Node node;
  if (*known) {
    node = **known;
    if (node.standing == Standing::removed || node.standing == Standing::rejected) return false;
    if (unless_since && node.decided && *node.decided > *unless_since) return false;
  } else {
    node.id = id;  // all that is left of it; later lists name it because it stands here
    node.name = id.hex();
  }
  node.standing = standing_for(entry.reason());
  node.connected = false;
  node.reason = kAdopted;
  node.decided_by = self_.name;
  node.decided = clock_.wall();
  const store::AuditEntry audit{
      clock_.wall(), self_.name,
      fmt::format("{}: {}", node.standing == Standing::removed ? "removed" : "rejected", kAdopted),
      node.name, id.hex()};
  auto saved = store_.save_node(node, audit);
  if (!saved) return std::unexpected(saved.error());
  remember(*saved);
  return true;
}

Result<bool> Registry::listed_as_denied(const NodeId& id) {
  auto documents = store_.documents(code(DocumentType::deny));
  if (!documents) return std::unexpected(documents.error());
  for (const store::StoredDocument& stored : *documents) {
    wire::pb::Signed document;
    wire::pb::DocumentBody body;
    wire::pb::DenyList list;
    if (!document.ParseFromString(to_string(stored.document)) ||
        !body.ParseFromString(document.body()) || !list.ParseFromString(body.payload()))
      return true;  // nobody is let in by a list that cannot be read
    if (static_cast<std::size_t>(list.entries_size()) >= node::kDenyEntriesMax)
      return true;  // the oldest have fallen off it
    for (const auto& entry : list.entries())
      if (node::node_id_of_field(entry.node_id()) == id) return true;
  }
  return false;
}

Result<> Registry::adopt_approval(const wire::pb::Signed& document,
                                  const wire::pb::DocumentBody& body, Adopted& adopted) {
  wire::pb::Approval approval;
  if (!approval.ParseFromString(body.payload()) || approval.node_id() != body.audience())
    return fail(Errc::invalid, "an approval that was shown cannot be read");
  const NodeId id = node::node_id_of_field(approval.node_id());
  const auto key = PublicKey::from_spki(as_bytes(approval.identity_key()));
  const bool member_role = approval.role() == static_cast<std::uint32_t>(store::Role::agent) ||
                           approval.role() == static_cast<std::uint32_t>(store::Role::gateway);
  if (!key || key->node_id() != id || !member_role)
    return fail(Errc::invalid, "an approval that was shown names another identity than its own");

  auto known = store_.node(id);
  if (!known) return std::unexpected(known.error());
  const bool over = *known && ((*known)->standing == Standing::removed ||
                               (*known)->standing == Standing::rejected);
  auto listed = listed_as_denied(id);
  if (!listed) return std::unexpected(listed.error());
  // Over here and on no list any more: approved again, as the lost number says. A full list proves
  // nothing, so it only stands in the way of those that are over.
  if (*listed && (over || !*known || (*known)->standing != Standing::approved)) {
    adopted.refused = fmt::format("{} is removed or rejected", approval.name());
    return {};
  }
  auto named = store_.nodes_named(approval.name());
  if (!named) return std::unexpected(named.error());
  store::Node node = *known ? **known : store::Node{};
  for (const store::Node& other : *named) {
    if (other.standing != Standing::approved || other.id == id) continue;
    if (other.id) {
      adopted.refused = fmt::format("{} is approved with identity {}, the one shown is {}",
                                    approval.name(), other.id->hex(), id.hex());
      return {};
    }
    // Approved by name; that it was bound to this identity is what was lost.
    if (*known) {
      const store::AuditEntry joined{clock_.wall(), self_.name, "pending entry joined", node.name,
                                     id.hex()};
      if (auto gone = store_.erase_node(node.row, joined); !gone) return gone;
    }
    node = other;
  }
  node.name = approval.name();
  node.id = id;
  node.identity_key = to_bytes(std::string_view(approval.identity_key()));
  node.role = static_cast<store::Role>(approval.role());
  node.standing = Standing::approved;
  node.parents.assign(approval.parents().begin(), approval.parents().end());
  node.direction =
      approval.direction() == 1 ? store::Direction::parent_dials : store::Direction::child_dials;
  node.reason.clear();
  node.decided_by = self_.name;
  node.decided = wall_from_ms(body.issued_ms());
  Issued issued{document, stored_form(document, body)};
  node.approval = issued.stored.document;
  const store::AuditEntry audit{clock_.wall(), self_.name, fmt::format("approved: {}", kAdopted),
                                node.name, id.hex()};
  auto saved = commit(node, audit, {std::move(issued)});
  if (!saved) return std::unexpected(saved.error());
  adopted.adopted = true;
  return {};
}

}  // namespace postern
