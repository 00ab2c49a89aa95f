#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/disk.h"
#include "doctor/outside.h"
#include "doctor/step.h"
#include "identity/certificate.h"
#include "settings/settings.h"

namespace postern::doctor {

inline constexpr Duration kClockOffMax = std::chrono::seconds(60);  // more is a warning
inline constexpr std::uint64_t kRoomMin = 2u << 20;                 // of the disk; less has failed

/// Whom to examine: one role of this machine, before or after its setup.
struct Patient {
  std::string role;                             // "agent", "gateway", "server"; "": none yet
  std::optional<std::filesystem::path> config;  // read for name, group, state folder and parents
  std::optional<std::filesystem::path> state;   // instead of the configuration's
  std::optional<ParentSetting> to;              // instead of every parent
  Anchors known_anchors;                        // believed while the state folder has none
  Duration timeout = std::chrono::seconds(10);  // of each thing that is waited for
};

/// parse_parent(), and `invalid` for an address without a name: whom to expect would be unknown.
Result<ParentSetting> parse_peer(std::string_view text);

/// Both sides' view of one handshake with `peer` that shows `credential`: the steps from the name's
/// resolution to the clock. `role` and `name` are for the words.
std::vector<Step> shake_hands(Outside& outside, const Clock& clock, const ParentSetting& peer,
                              std::optional<TlsCredential> credential, Anchors anchors,
                              const std::string& role, const std::string& name, Duration timeout);

/// Finds the first thing that is wrong between this machine and its parents, in the order in which
/// one thing needs the other: own settings, keys and certificate, name, route, TCP, TLS,
/// certificates in both directions, clock, approval.
///
/// It judges certificates by the same checks as a running node, and its reasons are the same words.
/// It changes nothing on this machine. A parent sees a connection like the node's: with no hello
/// while the node runs (a second connection would take over from the first, channel.md#W25), and
/// with the node's hello while it does not.
class Doctor {
 public:
  Doctor(Outside& outside, Disk& disk, const Clock& clock)
      : outside_(outside), disk_(disk), clock_(clock) {}

  Diagnosis examine(const Patient& patient);

 private:
  Outside& outside_;
  Disk& disk_;
  const Clock& clock_;
};

}  // namespace postern::doctor
