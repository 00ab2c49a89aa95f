// Machines that come with a token, and what becomes of them.

#include "server/registry.h"

namespace postern {

using node::JoinReason;
using store::Standing;

std::expected<bool, Registry::NotJoined> Registry::join(const Joiner& joiner,
                                                        const store::JoinToken& token) {
  const auto no = [](JoinReason reason, std::string words) {
    return std::unexpected(NotJoined{reason, std::move(words)});
  };
  const auto busy = [&](const Error& error) { return no(JoinReason::busy, error.message); };
  const NodeId id = joiner.identity.node_id();
  auto known = store_.node(id);
  if (!known) return busy(known.error());
  if (*known && (*known)->compromised)
    return no(JoinReason::denied,
              fmt::format("the identity of {} was revoked as compromised; give the machine a new "
                          "one by removing its state folder",
                          (*known)->name));
  if (*known && (*known)->standing == Standing::approved) {
    if ((*known)->name != joiner.name || (*known)->role != joiner.role)
      return no(JoinReason::denied,
                fmt::format("this machine is known as {} {}; remove that one first",
                            to_string(static_cast<node::Role>((*known)->role)), (*known)->name));
    // A token in the hands of whoever has the machine must not undo what a human decided.
    if (revocations_.find((*known)->certificate) != nullptr)
      return no(JoinReason::denied,
                fmt::format("the certificate of {} was revoked; an administrator signs the next "
                            "one: postern cert request, postern cert sign, postern cert import",
                            (*known)->name));
    return true;
  }
  if (*known && (*known)->standing != Standing::pending)
    return no(JoinReason::denied,
              fmt::format("{} was {} by {}; approve it again to let it back, or give the machine "
                          "a new identity by removing its state folder",
                          (*known)->name,
                          (*known)->standing == Standing::removed ? "removed" : "rejected",
                          (*known)->decided_by));

  auto named = store_.node_by_name(joiner.name);
  if (!named) return busy(named.error());
  const bool by_name = *named && (*named)->standing == Standing::approved;
  const bool clash = by_name && (*named)->id.has_value();
  if (by_name && !clash && (*named)->role != joiner.role)
    return no(JoinReason::wrong_role,
              fmt::format("{} is approved as {}", joiner.name,
                          to_string(static_cast<node::Role>((*named)->role))));

  store::Node node;
  if (by_name && !clash)
    node = **named;
  else if (*known)
    node = **known;
  else if (*named && !(*named)->id)
    node = **named;  // a wish was recorded for this name
  node.name = joiner.name;
  node.id = id;
  node.identity_key = to_bytes(joiner.identity.spki());
  node.role = joiner.role;
  node.address = joiner.address;
  node.path = joiner.path;
  if (clash || (!by_name && !token.approves)) {
    node.reason = clash ? clash_words(**named, id)
                        : fmt::format("not approved yet; came with token {}", token.id);
    if (auto waits = wait(node, *known); !waits) return no(JoinReason::busy, waits.error().words);
    if (clash)
      return no(JoinReason::clash,
                fmt::format("{}; an administrator decides in: postern pending list", node.reason));
    return false;
  }
  if (!by_name) node.parents = token.parents;
  const std::string by = fmt::format("token {}", token.id);
  auto saved =
      by_name ? bind(std::move(node), *known, by) : save_approved(std::move(node), by, "approved");
  if (!saved) return busy(saved.error());
  return true;
}

}  // namespace postern
