#pragma once

#include <filesystem>
#include <string>

#include "base/clock.h"
#include "base/disk.h"
#include "base/random.h"
#include "identity/authority.h"
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
///   ca.key ca.pem    0600   the built-in certificate authority
class GroupFolder {
 public:
  GroupFolder(Disk& disk, std::filesystem::path state) : disk_(disk), state_(std::move(state)) {}

  struct Delegate {
    PrivateKey key;
    std::uint64_t number = 0;
  };
  Result<Delegate> delegate();
  Result<CertificateAuthority> authority();
  Result<bool> exists();

  Result<> create(const PrivateKey& root, const PrivateKey& delegate,
                  const CertificateAuthority& authority);

 private:
  Disk& disk_;
  std::filesystem::path state_;
};

struct InitRequest {
  std::string group, name;
  std::filesystem::path state_dir = "/var/lib/postern/server";
  std::string listen = "0.0.0.0:5723";
  std::string store;  // empty: sqlite in the state folder
  std::filesystem::path config = "/etc/postern/server.yaml";
};

/// Makes a management group: group root, built-in CA, this server's identity, certificate and
/// delegation, its store, its configuration. Refuses, and changes nothing, when a group or a
/// configuration is there already. Returns the root's fingerprint.
Result<std::string> init_group(const InitRequest& request, Disk& disk, const Clock& clock,
                               Random& random);

}  // namespace postern
