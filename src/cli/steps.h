#pragma once

#include <boost/json.hpp>
#include <string>

#include "cli/session.h"
#include "doctor/step.h"

/// How `doctor` and `cert verify --peer` print what was looked at. Not for other folders.
namespace postern::cli {

boost::json::object step_json(const doctor::Step& step);
/// "FAIL  connect  ...", of what step_json() made.
std::string step_text(Session& session, const boost::json::value& step);
/// Words and what to do, of what step_json() made.
std::string sentence(const boost::json::value& step);

/// --timeout of both; nothing when it is none, which has been said.
std::optional<Duration> doctor_timeout(Session& session);

}  // namespace postern::cli
