#pragma once

// For doctor's own .cc files: what is known of this machine when its parents are examined.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "doctor/doctor.h"
#include "doctor/remedy.h"
#include "identity/certificate.h"
#include "node/self.h"

namespace postern::doctor {

struct Own {
  Place place;  // without a parent
  std::vector<ParentSetting> parents;
  Anchors anchors;
  std::optional<TlsCredential> credential;
  Program program;
  /// What a hello needs; `why_no_hello` when there is none.
  std::unique_ptr<node::Self> self;
  std::optional<wire::pb::Signed> approval;
  std::string why_no_hello;
};

/// Appends the steps about one parent, each id once; what was not reached says so.
void examine_parent(Outside& outside, const Clock& clock, const Own& own,
                    const ParentSetting& parent, Duration timeout, std::vector<Step>& steps);

/// "own_certificate" and a finding of its check.
Step step_of(const Finding& finding, const std::string& id, const std::string& subject);

}  // namespace postern::doctor
