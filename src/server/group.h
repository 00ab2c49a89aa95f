#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "base/clock.h"
#include "base/disk.h"
#include "base/random.h"
#include "identity/authority.h"
#include "identity/check.h"
#include "identity/key.h"
#include "settings/settings.h"
#include "store/store.h"
#include "wire/channel.pb.h"

namespace postern {

inline constexpr std::uint64_t kFirstDelegation = 1;
inline constexpr std::chrono::days kDelegationLifetime{3652};

/// The group's own secrets, in the state folder of a management server, beside who the server is
/// (identity/state_folder.h):
///
///   group-root.key   0600   P-256; may be taken away and kept offline after init
///   delegate.key     0600   P-256; signs documents, settled and ticks for this server
///   delegate.number         the number of its delegation
///   ca.key ca.pem    0600   the root of the built-in certificate authority; the key may be taken
///                           away, too, where there is an issuing one
///   issuing.pem      0600   key and certificate of the issuing authority, then the certificates of
///                           those before it; missing in older groups, where the root signs
///
/// During a roll-over besides (docs/operating/certificates.md):
///
///   next-ca.key next-ca.pem next-issuing.pem   0600   until they sign
///   former-ca.pem           the root before, from then until it is withdrawn
class GroupFolder {
 public:
  GroupFolder(Disk& disk, std::filesystem::path state) : disk_(disk), state_(std::move(state)) {}

  struct Delegate {
    PrivateKey key;
    std::uint64_t number = 0;
  };
  Result<Delegate> delegate();
  /// Who signs nodes' certificates: the issuing one, or the root where there is none.
  Result<CertificateAuthority> authority();
  Result<bool> exists();

  /// What is public of it: who signs, until when, and the names of all that ever signed for nodes
  /// of this group, by the SHA-256 of each in DER.
  struct Facts {
    WallTime not_before{}, not_after{};  // of who signs now
    std::string signer;
    std::map<Digest, std::string> names;
  };
  Result<Facts> facts();

  /// The root with its key; `unavailable` when that was taken away.
  Result<CertificateAuthority> root();
  Result<Certificate> root_certificate();
  Result<bool> has_root_key();
  /// The issuing one's certificate, then those before it; empty in older groups.
  Result<std::vector<Certificate>> issuing_certificates();
  /// `issuing` signs from now on; what the one before it signed goes on being known.
  Result<> install_issuing(const CertificateAuthority& issuing);
  /// Puts the root's key back. `denied` when it is not this group's root.
  Result<> put_root_key(const CertificateAuthority& root);
  /// `denied` where the root signs.
  Result<> may_remove_root_key();
  Result<> remove_root_key();

  /// At most one of both is there.
  struct Rollover {
    std::optional<Certificate> next;    // trusted, signs nothing yet
    std::optional<Certificate> former;  // signs nothing any more, still trusted
    bool operator==(const Rollover&) const = default;
  };
  Result<Rollover> rollover();
  /// The next root, with an issuing one under it; the one that is there already, if so.
  Result<Certificate> prepare_next(WallTime now, Random& random);
  /// The next one signs from now on; the key of the one before leaves this server. After an error
  /// in the middle it is to be called again.
  Result<> switch_to_next();
  Result<> forget_former();
  /// What this server trusts; durable when it returns.
  Result<Anchors> anchors();
  Result<> install_anchors(const Anchors& anchors);

  Result<> create(const PrivateKey& root, const PrivateKey& delegate,
                  const CertificateAuthority& authority, const CertificateAuthority& issuing);

 private:
  Result<> write(const char* name, std::string text, unsigned mode);
  Result<> remove(const char* name);  // no error when it is not there
  Result<std::optional<Certificate>> certificate_in(const char* name);
  std::optional<unsigned> owner();
  Disk& disk_;
  std::filesystem::path state_;
};

struct InitRequest {
  std::string group, name;
  std::filesystem::path state_dir = "/var/lib/postern/server";
  std::string listen = "0.0.0.0:5723";
  std::string store;  // a URL; empty: sqlite in the state folder
  std::filesystem::path store_password_file;
  std::function<void(const std::string&)> warn;  // what should be changed about the database
  std::filesystem::path config = "/etc/postern/server.yaml";
};

/// Makes a management group: group root, built-in CA, this server's identity, certificate and
/// delegation, its store, its configuration. Refuses, and changes nothing, when a group or a
/// configuration is there already. Returns the root's fingerprint.
Result<std::string> init_group(const InitRequest& request, Disk& disk, const Clock& clock,
                               Random& random);

}  // namespace postern
