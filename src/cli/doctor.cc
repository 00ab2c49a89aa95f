#include "doctor/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/quantity.h"
#include "cli/client.h"
#include "cli/installation.h"
#include "cli/session.h"
#include "cli/steps.h"
#include "cli/table.h"
#include "identity/certificate.h"

namespace postern::cli {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::size_t kVerdictColumns = 13;  // "not reached  "
constexpr std::size_t kIdColumns = 36;
constexpr Duration kTimeoutMin = std::chrono::milliseconds(100);
constexpr Duration kTimeoutMax = std::chrono::minutes(5);

bool is_role(const std::string& name) {
  return std::find(std::begin(kRoleNames), std::end(kRoleNames), name) != std::end(kRoleNames);
}

/// The role of this name as it is set up here: by its settings, else by its state folder.
doctor::Patient patient_of(const std::string& role, World& world) {
  doctor::Patient patient;
  patient.role = role;
  const fs::path config = fs::path(world.settings) / (role + ".yaml");
  const fs::path state = fs::path(world.home) / role;
  if (!world.disk.exists(config).value_or(false) && world.disk.exists(state).value_or(false))
    patient.state = state;
  else
    patient.config = config;
  return patient;
}

/// Empty when options contradict each other, which has been said.
std::vector<doctor::Patient> patients_of(Session& session) {
  const Options& options = session.options;
  World& world = session.world;
  if (options.config || options.state) {
    doctor::Patient patient;
    const fs::path named =
        options.config ? fs::path(*options.config).stem() : fs::path(*options.state).filename();
    patient.role = options.role.value_or(is_role(named.string()) ? named.string() : "");
    if (patient.role.empty()) {
      say_failure(session, fmt::format("which role {} belongs to is not to be seen: say it with "
                                       "--role agent|gateway|server",
                                       options.config ? *options.config : *options.state));
      return {};
    }
    if (options.config) patient.config = *options.config;
    if (options.state) patient.state = *options.state;
    return {patient};
  }
  if (options.role) return {patient_of(*options.role, world)};
  std::vector<doctor::Patient> patients;
  for (const char* role : kRoleNames)
    if (world.disk.exists(fs::path(world.settings) / (std::string(role) + ".yaml"))
            .value_or(false) ||
        world.disk.exists(fs::path(world.home) / role).value_or(false))
      patients.push_back(patient_of(role, world));
  if (patients.empty()) patients.emplace_back();  // a machine before its setup
  return patients;
}

json::object to_json(const std::vector<doctor::Diagnosis>& all) {
  json::array nodes;
  bool passed = true;
  for (const doctor::Diagnosis& diagnosis : all) {
    json::array steps;
    for (const doctor::Step& step : diagnosis.steps) steps.push_back(step_json(step));
    json::object node;
    node["role"] = diagnosis.role;
    node["name"] = diagnosis.name;
    node["config"] = diagnosis.config;
    node["state"] = diagnosis.state;
    node["steps"] = std::move(steps);
    nodes.push_back(std::move(node));
    passed = passed && diagnosis.well();
  }
  const auto wrong = doctor::first_wrong(all);
  json::object answer;
  answer["passed"] = passed;
  answer["conclusion"] = wrong ? json::value(step_json(*wrong)) : json::value(nullptr);
  answer["nodes"] = std::move(nodes);
  return answer;
}

std::string report_text(Session& session, const json::value& answer) {
  const std::size_t columns = session.world.columns;
  std::string text;
  for (const json::value& node : list_of(answer, "nodes")) {
    const std::string role = text_of(node, "role");
    text += wrapped(
        "",
        role.empty()
            ? "this machine, which has no role of Postern yet"
            : fmt::format("{} {} ({})", role, or_dash(text_of(node, "name")),
                          text_of(node, text_of(node, "config").empty() ? "state" : "config")),
        columns);
    std::string parent;
    for (const json::value& step : list_of(node, "steps")) {
      if (text_of(step, "parent") != parent) {
        parent = text_of(step, "parent");
        text += wrapped("", parent.empty() ? "this machine" : "parent " + parent, columns);
      }
      text += step_text(session, step);
    }
    text += '\n';
  }
  const json::value* wrong = answer.as_object().if_contains("conclusion");
  if (wrong == nullptr || wrong->is_null()) return text + "Nothing is wrong.\n";
  return text + wrapped("",
                        (flag_of(answer, "passed") ? "Nothing has failed. Worth a look: "
                                                   : "The first thing that is wrong: ") +
                            sentence(*wrong),
                        columns);
}

}  // namespace

json::object step_json(const doctor::Step& step) {
  json::object one;
  one["id"] = step.id;
  if (step.parent.empty())
    one["parent"] = nullptr;
  else
    one["parent"] = step.parent;
  one["verdict"] = to_string(step.verdict);
  one["reason"] = step.reason;
  one["words"] = step.words;
  one["fix"] = step.fix;
  return one;
}

std::string step_text(Session& session, const json::value& step) {
  const std::string verdict = text_of(step, "verdict"), words = text_of(step, "words");
  const std::string head = fmt::format("{:{}}{:{}}",
                                       verdict == "fail"          ? "FAIL"
                                       : verdict == "not_reached" ? "not reached"
                                                                  : verdict,
                                       kVerdictColumns, text_of(step, "id"), kIdColumns);
  const bool plain = verdict == "pass" || verdict == "not_reached";
  return wrapped(head, plain ? words : fmt::format("{} ({})", words, text_of(step, "reason")),
                 session.world.columns);
}

/// Refusals often name the command themselves.
std::string sentence(const json::value& step) {
  const std::string words = text_of(step, "words"), fix = text_of(step, "fix");
  const std::size_t at = fix.find("run: ");
  const bool said = at != std::string::npos && words.find(fix.substr(at + 5)) != std::string::npos;
  return fix.empty() || said ? words + "." : words + "; " + fix + ".";
}

std::optional<Duration> doctor_timeout(Session& session) {
  const std::string& text = session.options.wait;
  const auto timeout = parse_duration(text);
  if (timeout && *timeout >= kTimeoutMin && *timeout <= kTimeoutMax) return *timeout;
  say_failure(session, fmt::format("--timeout {}: write a duration from {} to {}, like 10s", text,
                                   format_duration(kTimeoutMin), format_duration(kTimeoutMax)));
  return std::nullopt;
}

int examine_machine(Session& session) {
  const Options& options = session.options;
  World& world = session.world;
  if (world.outside == nullptr) return say_failure(session, "this build cannot dial");
  const auto usage = [&](const std::string& message) {
    say_failure(session, message);
    return kExitUsage;
  };
  const auto timeout = doctor_timeout(session);
  if (!timeout) return kExitUsage;
  std::optional<ParentSetting> to;
  if (options.to) {
    auto parsed = doctor::parse_peer(*options.to);
    if (!parsed) return usage("--to: " + parsed.error().message);
    to = std::move(*parsed);
  }
  auto patients = patients_of(session);
  if (patients.empty()) return kExitUsage;

  const auto anchors = anchors_here(session);
  std::vector<doctor::Diagnosis> all;
  doctor::Doctor examiner(*world.outside, world.disk, world.clock);
  for (doctor::Patient& patient : patients) {
    patient.to = to;
    patient.timeout = *timeout;
    if (anchors) patient.known_anchors = *anchors;
    all.push_back(examiner.examine(patient));
  }
  const int printed = print(session, json::value(to_json(all)), report_text);
  const bool well =
      std::all_of(all.begin(), all.end(), [](const doctor::Diagnosis& one) { return one.well(); });
  return printed == kExitDone && !well ? kExitFailed : printed;
}

}  // namespace postern::cli
