#include "doctor/step.h"

#include <algorithm>

namespace postern::doctor {
namespace {

std::optional<Step> first(const std::vector<Diagnosis>& all, Verdict verdict) {
  for (const Diagnosis& one : all)
    for (const Step& step : one.steps)
      if (step.verdict == verdict) return step;
  return std::nullopt;
}

}  // namespace

const char* to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::passed:
      return "pass";
    case Verdict::warning:
      return "warning";
    case Verdict::failed:
      return "fail";
    case Verdict::not_reached:
      return "not_reached";
  }
  return "unknown";
}

bool Diagnosis::well() const {
  return std::none_of(steps.begin(), steps.end(),
                      [](const Step& step) { return step.verdict == Verdict::failed; });
}

std::optional<Step> first_wrong(const std::vector<Diagnosis>& all) {
  auto failed = first(all, Verdict::failed);
  return failed ? failed : first(all, Verdict::warning);
}

}  // namespace postern::doctor
