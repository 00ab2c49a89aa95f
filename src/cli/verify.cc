#include "identity/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "cli/client.h"
#include "cli/installation.h"
#include "cli/session.h"
#include "cli/steps.h"
#include "cli/table.h"
#include "doctor/doctor.h"
#include "doctor/revocation.h"
#include "identity/group_file.h"
#include "identity/key.h"
#include "identity/state_folder.h"

namespace postern::cli {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::size_t kVerdictColumns = 6;       // "pass  ", "FAIL  "
constexpr std::size_t kRequirementColumns = 17;  // "key permissions  "

Result<VerifyRequest> request_of(Session& session) {
  const Options& options = session.options;
  VerifyRequest request;
  request.files.assign(options.files.begin(), options.files.end());
  if (options.key_file) request.key = *options.key_file;
  if (options.anchors_file) request.anchors = *options.anchors_file;
  if (!options.name.empty()) request.name = options.name;
  request.as_server = options.role != "agent";
  request.now = session.world.clock.wall();
  if (options.password_file) {
    auto password = read_password_file(session.world.disk, *options.password_file);
    if (!password) return std::unexpected(password.error());
    request.password = std::move(*password);
  }
  if (options.state) {
    const fs::path state = *options.state;
    if (const auto owned = session.world.disk.status(state)) request.also_owner = owned->user;
    if (!request.anchors) request.anchors = state / "anchors.pem";
    if (request.files.empty()) {
      request.files.push_back(state / "tls/chain.pem");
      if (!request.key) request.key = state / "tls/key.pem";
    }
  }
  if (request.anchors) return request;
  auto anchors = anchors_here(session);
  if (!anchors) return std::unexpected(anchors.error());
  request.known_anchors = std::move(*anchors);
  return request;
}

/// Of the state folder that is named, else of every role that this machine has.
doctor::RevocationPlaces revocation_places(Session& session, VerifyReport& report) {
  const Options& options = session.options;
  doctor::RevocationPlaces places;
  if (options.state) places.states.emplace_back(*options.state);
  for (const char* role : kRoleNames) {
    if (options.role && *options.role != role) continue;
    const auto here = find_role(role, session.world);
    if (!here) report.notes.push_back(here.error().message);
    if (!here || !*here) continue;
    if (options.state && (*here)->state != *options.state) continue;
    if (!options.state) places.states.push_back((*here)->state);
    CertificateSettings& all = places.certificates;
    const CertificateSettings& own = (*here)->certificates;
    all.crl.insert(all.crl.end(), own.crl.begin(), own.crl.end());
    all.refuse_on_stale_crl = all.refuse_on_stale_crl || own.refuse_on_stale_crl;
  }
  return places;
}

void look_at_revocation(Session& session, VerifyReport& report) {
  auto seen = doctor::look_at_revocation(session.world.disk, revocation_places(session, report),
                                         report.chain, report.anchors, session.world.clock.wall());
  std::ranges::move(seen.findings, std::back_inserter(report.findings));
  std::ranges::move(seen.notes, std::back_inserter(report.notes));
}

json::object to_json(const VerifyReport& report) {
  json::array requirements;
  for (const Finding& finding : report.findings)
    requirements.push_back(json::object{{"requirement", finding.requirement},
                                        {"passed", finding.passed},
                                        {"reason", to_string(finding.reason)},
                                        {"words", finding.words}});
  json::array notes;
  for (const std::string& note : report.notes) notes.emplace_back(note);
  const auto failure = first_failure(report.findings);
  json::object answer;
  answer["file"] = report.file.string();
  answer["subject"] = report.certificate ? report.certificate->subject() : "";
  answer["passed"] = !failure;
  answer["reason"] = to_string(failure ? failure->reason : Reason::ok);
  answer["requirements"] = std::move(requirements);
  answer["notes"] = std::move(notes);
  return answer;
}

/// Appends both sides' view of a handshake with --peer; whether none of it has failed.
bool look_at_peer(Session& session, const ParentSetting& peer, Duration timeout,
                  const VerifyReport& report, json::object& answer) {
  const Options& options = session.options;
  std::string name = options.name;
  if (name.empty() && report.certificate && !report.certificate->dns_names().empty())
    name = report.certificate->dns_names().front();
  const auto steps =
      doctor::shake_hands(*session.world.outside, session.world.clock, peer, report.credential,
                          report.anchors, options.role.value_or(""), name, timeout);
  json::array all;
  bool passed = true;
  for (const doctor::Step& step : steps) {
    all.push_back(step_json(step));
    if (step.verdict != doctor::Verdict::failed) continue;
    if (passed && report.passed()) answer["reason"] = step.reason;
    passed = false;
  }
  answer["peer"] = json::object{{"name", peer.name}, {"steps", std::move(all)}};
  if (!passed) answer["passed"] = false;
  return passed;
}

std::string report_text(Session& session, const json::value& answer) {
  const std::size_t columns = session.world.columns;
  std::string text =
      wrapped("", text_of(answer, "file") + "  " + text_of(answer, "subject"), columns);
  for (const json::value& one : list_of(answer, "requirements")) {
    const bool passed = flag_of(one, "passed");
    const std::string head = fmt::format("{:{}}{:{}}", passed ? "pass" : "FAIL", kVerdictColumns,
                                         text_of(one, "requirement"), kRequirementColumns);
    text += wrapped(head,
                    passed ? text_of(one, "words")
                           : fmt::format("{} ({})", text_of(one, "words"), text_of(one, "reason")),
                    columns);
  }
  for (const std::string& note : texts_of(answer, "notes"))
    text += wrapped("note  ", note, columns);
  if (const json::value* peer = answer.as_object().if_contains("peer")) {
    text += wrapped("", "handshake with " + text_of(*peer, "name"), columns);
    for (const json::value& step : list_of(*peer, "steps")) text += step_text(session, step);
  }
  const auto& requirements = list_of(answer, "requirements");
  const bool by_itself = std::all_of(requirements.begin(), requirements.end(),
                                     [](const json::value& one) { return flag_of(one, "passed"); });
  if (by_itself && !flag_of(answer, "passed"))
    return text + wrapped("",
                          fmt::format("It passes by itself; the handshake does not ({}).",
                                      text_of(answer, "reason")),
                          columns);
  if (flag_of(answer, "passed"))
    return text + "It passes: both sides of a handshake would take it.\n";
  return text +
         wrapped("", fmt::format("It would be refused ({}).", text_of(answer, "reason")), columns);
}

}  // namespace

Result<Anchors> anchors_here(Session& session) {
  World& world = session.world;
  const auto named = session.options.group_file ? session.options.group_file
                                                : world.environment(kGroupFileVariable);
  const fs::path file = named.value_or(world.settings + "/" + std::string(kGroupFileName));
  const auto exists = world.disk.exists(file);
  if (!exists) return std::unexpected(exists.error());
  if (*exists || named) {
    const auto text = world.disk.read_file(file, kGroupFileBytesMax);
    if (!text) return std::unexpected(text.error());
    auto group = parse_group_file(as_text(*text));
    if (!group) return fail(group.error(), file.string());
    return group->anchors;
  }
  for (const char* role : kRoleNames)
    if (auto anchors = StateFolder(world.disk, fs::path(world.home) / role).anchors())
      return anchors;
  return Anchors();
}

int verify_certificate(Session& session) {
  if (!session.options.name.empty())
    if (const auto name = normal_fqdn(session.options.name); !name) {
      say_failure(session, "--name: " + name.error().message);
      return kExitUsage;
    }
  std::optional<ParentSetting> peer;
  const auto timeout = doctor_timeout(session);
  if (!timeout) return kExitUsage;
  if (session.options.peer) {
    auto parsed = doctor::parse_peer(*session.options.peer);
    if (!parsed) {
      say_failure(session, "--peer: " + parsed.error().message);
      return kExitUsage;
    }
    if (session.world.outside == nullptr) return say_failure(session, "this build cannot dial");
    peer = std::move(*parsed);
  }
  auto request = request_of(session);
  if (!request) return say_failure(session, request.error().message);
  auto report = postern::verify_certificate(session.world.disk, *request);
  if (request->password) wipe(*request->password);
  if (!report) return say_failure(session, report.error().message);
  look_at_revocation(session, *report);
  json::object answer = to_json(*report);
  const bool agreed = !peer || look_at_peer(session, *peer, *timeout, *report, answer);
  const int printed = print(session, json::value(std::move(answer)), report_text);
  return printed == kExitDone && !(report->passed() && agreed) ? kExitFailed : printed;
}

}  // namespace postern::cli
