#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/certificate_mark.h"
#include "base/clock.h"
#include "base/result.h"
#include "identity/check.h"

namespace postern {

inline constexpr std::size_t kRevocationFileBytesMax = 4u << 20;  // about 100,000 certificates
inline constexpr std::size_t kRevocationListsMax = 64;            // in all files together

/// What one CRL of an outside authority says: decoded, and believed. Usable by several threads.
struct RevocationList {
  std::string file;    // it came from
  std::string issuer;  // in words
  Digest issuer_sha256{};
  WallTime this_update{};
  std::optional<WallTime> next_update;  // none: it is never stale
  std::vector<std::string> serials;     // lower-case hex, sorted

  bool lists(std::string_view serial) const;
  bool stale(WallTime now) const { return next_update && now > *next_update; }
  bool operator==(const RevocationList&) const = default;
};

/// The CRLs in a file: PEM, where each issuer's own certificate may stand beside its list, or one
/// in DER. Each list must be signed by an anchor, or by an issuer that stands in the file or among
/// `known` and leads to an anchor. `invalid` when one of them is not, is only a part of its
/// issuer's list, or cannot be read; then nothing of the file counts.
Result<std::vector<RevocationList>> read_revocation_lists(const std::string& file, ByteView bytes,
                                                          const Anchors& anchors,
                                                          std::span<const Certificate> known,
                                                          WallTime now);

/// All lists that a node has, and what follows from them. Immutable.
class RevocationLists {
 public:
  enum class WhenStale { warn, refuse };
  RevocationLists(std::vector<RevocationList> lists, WhenStale when_stale)
      : lists_(std::move(lists)), when_stale_(when_stale) {}

  const std::vector<RevocationList>& all() const { return lists_; }

  /// The list that names this certificate; null: none does.
  const RevocationList* find(const CertificateMark& certificate) const;
  /// Against a chain, leaf first: a certificate that is revoked, and by WhenStale::refuse one
  /// whose issuer's lists are all stale.
  std::optional<Finding> objection(std::span<const Certificate> chain, WallTime now) const;

 private:
  std::vector<RevocationList> lists_;
  WhenStale when_stale_;
};

}  // namespace postern
