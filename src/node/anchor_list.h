#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/disk.h"
#include "identity/check.h"

namespace postern::node {

inline constexpr std::size_t kAnchorsMax = 32;    // document.md#G15
inline constexpr std::size_t kWithdrawnMax = 64;  // likewise

/// Whom the group trusts to name its nodes, as its document of type *anchors* says
/// (document.md#G15). A value; decides only.
struct AnchorList {
  struct Anchor {
    Certificate certificate;
    bool retiring = false;  // still good, and certificates that lead to it are renewed now
    bool operator==(const Anchor&) const = default;
  };
  std::vector<Anchor> anchors;
  std::vector<Digest> withdrawn;  // fingerprints of those that are good no more
  std::chrono::seconds spread{};  // what the renewals of a whole group are spread over

  /// `invalid` when it cannot be read, names no CA, or is over a limit.
  static Result<AnchorList> from_payload(ByteView payload);
  std::string payload() const;

  /// What a node that trusted `own` trusts from now on: also these, and none that was withdrawn.
  /// What an administrator added by hand at this node stays. `denied` when nothing would be left.
  Result<Anchors> applied_to(const Anchors& own) const;
  /// Whether a chain (leaf first) leads to a retiring anchor, and to no other.
  bool leaves(const std::vector<Certificate>& chain, WallTime now) const;

  bool operator==(const AnchorList&) const = default;
};

/// Writes what a node trusts by this list into its state folder, durable when it returns, unless it
/// stands there already. What stands there then. Blocks on the disk.
Result<Anchors> install_anchors(const AnchorList& list, Disk& disk,
                                const std::filesystem::path& state);

/// What changed, a line each, for the log.
std::vector<std::string> differences(const Anchors& before, const Anchors& after);

}  // namespace postern::node
