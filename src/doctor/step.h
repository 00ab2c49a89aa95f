#pragma once

#include <optional>
#include <string>
#include <vector>

namespace postern::doctor {

enum class Verdict { passed, warning, failed, not_reached };
const char* to_string(Verdict verdict);  // "pass", "warning", "fail", "not_reached"

/// One thing that was looked at. `id` and `reason` are for programs and tickets and never change;
/// of certificates and refusals the reason is the word that stands in the logs of both sides.
struct Step {
  std::string id;      // "own_certificate.validity", "connect", ...
  std::string parent;  // whom it is about; empty: this machine itself
  Verdict verdict = Verdict::passed;
  std::string reason = "ok";  // "ok" exactly when it passed; "not_reached" when it was not
  std::string words{};        // a sentence without its full stop
  std::string fix{};          // what to do, with the command; empty when there is nothing
};

/// Of one role of this machine, or of a machine that has none yet (role "").
struct Diagnosis {
  std::string role, name;
  std::string config, state;  // what was read; empty: nothing
  std::vector<Step> steps;    // in the order in which one thing needs the other

  /// Nothing has failed.
  bool well() const;
};

/// The first that failed; without one, the first warning; nothing when all is well.
std::optional<Step> first_wrong(const std::vector<Diagnosis>& all);

}  // namespace postern::doctor
