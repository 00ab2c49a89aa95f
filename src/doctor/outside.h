#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "identity/check.h"
#include "net/peer_probe.h"

namespace postern::doctor {

/// What the program of a role says of itself.
struct Program {
  enum class State { unknown, stopped, running };
  State state = State::unknown;
  bool ready = false;  // of one that is running: it delivers
  std::string words;   // why it is not ready, or why nothing is known
};

/// The network and the other programs, as the doctor asks them; tests have their own. Calls block.
class Outside {
 public:
  virtual ~Outside() = default;
  /// As net/resolver.h has them.
  virtual Result<std::vector<std::string>> addresses_of(const std::string& host,
                                                        Duration timeout) = 0;
  virtual std::optional<std::string> name_of_address(const std::string& address,
                                                     Duration timeout) = 0;
  virtual PeerProbe probe(const ProbeRequest& request) = 0;
  /// The clock of who answers HTTP there and has a certificate of `anchors` for `name`.
  virtual std::optional<WallTime> clock_of(const std::string& name, const std::string& address,
                                           std::uint16_t port, const Anchors& anchors,
                                           Duration timeout) = 0;
  virtual Program program_at(const std::filesystem::path& state, Duration timeout) = 0;
};

class RealOutside final : public Outside {
 public:
  Result<std::vector<std::string>> addresses_of(const std::string& host, Duration timeout) override;
  std::optional<std::string> name_of_address(const std::string& address, Duration timeout) override;
  PeerProbe probe(const ProbeRequest& request) override;
  std::optional<WallTime> clock_of(const std::string& name, const std::string& address,
                                   std::uint16_t port, const Anchors& anchors,
                                   Duration timeout) override;
  Program program_at(const std::filesystem::path& state, Duration timeout) override;
};

}  // namespace postern::doctor
