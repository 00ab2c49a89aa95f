#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/disk.h"
#include "base/result.h"
#include "identity/certificate.h"
#include "identity/check.h"
#include "identity/key.h"

namespace postern {

/// Where a node keeps who it is. Everything else under the same folder (spool, store) is not ours.
///
///   <state>/                         0700
///     identity.key            0600   P-256, PKCS#8 PEM; made when missing, never replaced
///     anchors.pem             0644   the certificates the group trusts
///     group.pem               0644   the pinned group root's public key; absent: unpinned
///     tls/key.pem             0600   the TLS key, PKCS#8 PEM
///     tls/chain.pem           0644   its certificate, then intermediates
///     tls/next/{key,chain}.pem       exist only while an installation is under way
///     tls/previous/{key,chain}.pem   what install_tls() replaced, for a roll-back
///
/// A crash during install_tls() leaves at each moment one pair of key and certificate that belong
/// together, and tls() finds it: tls/ is asked first, then tls/next/, then tls/previous/.
///
/// Written files belong to the owner of the folder when root writes them. Blocks on the disk: never
/// on an event loop except at start-up. Modes and owners are those of the real file system.
class StateFolder {
 public:
  StateFolder(Disk& disk, std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }

  /// Makes the folder (0700) when it is missing. `denied` when others than its owner can write it.
  Result<> prepare();

  /// The identity key; made, and on disk when this returns, if there is none. A key that cannot be
  /// read is an error and never replaced: a new identity would be a new node.
  Result<PrivateKey> load_or_create_identity();

  /// Key and chain that belong together. `unavailable` when none is installed yet.
  Result<TlsCredential> tls();
  /// The installed chain alone, for those who need no key; `unavailable` when there is none.
  Result<std::vector<Certificate>> chain();
  /// The group's anchors; `unavailable` when there are none yet.
  Result<Anchors> anchors();
  /// The pinned group root; nullopt when the node is unpinned.
  Result<std::optional<PublicKey>> group_root();

  /// Durable when it returns. The replaced pair is kept for roll_back_tls(). `invalid` when key
  /// and leaf do not belong together.
  Result<> install_tls(const TlsCredential& credential);
  /// Makes the previous pair the current one, and the other way round.
  Result<> roll_back_tls();
  Result<> install_anchors(const Anchors& anchors);
  /// Pins the root. `denied` when another one is pinned: its successor is introduced by a signed
  /// document, not by a file; an operator who means it removes group.pem.
  Result<> pin_group_root(const PublicKey& root);

 private:
  struct Owner {
    unsigned user;
    unsigned group;
  };
  std::optional<Owner> owner() const;
  std::optional<unsigned> owner_user() const;
  Result<TlsCredential> pair_in(const std::filesystem::path& folder);
  Result<> make_folder(const std::filesystem::path& folder);
  Result<> write(const std::filesystem::path& path, std::string_view text, unsigned mode);
  Result<> write_pair(const std::filesystem::path& folder, std::string_view key_pem,
                      std::string_view chain_pem);

  Disk& disk_;
  std::filesystem::path path_;
};

}  // namespace postern
