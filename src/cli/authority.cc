// `postern ca ...`: from one CA of the group to the next, and how far it has come.

#include "cli/session.h"
#include "cli/table.h"
#include "cli/words.h"

namespace postern::cli {
namespace {

namespace json = boost::json;

constexpr std::size_t kFingerprintShown = 16;  // hex digits

/// What is going on, and the command that goes on with it.
std::string state_words(const json::value& answer) {
  const std::string phase = text_of(answer, "phase");
  const auto nodes = count_of(answer, "nodes").value_or(0);
  const auto waiting = static_cast<std::int64_t>(list_of(answer, "waiting").size());
  const std::string ready = fmt::format("{} of {} nodes", nodes - waiting, nodes);
  std::string text;
  if (phase == "spreading")
    text = fmt::format(
        "The next CA is being made known: {} trust it. {}\n", ready,
        waiting == 0 ? "Let it sign with: postern ca switch" : "When all do: postern ca switch");
  else if (phase == "renewing")
    text = fmt::format("The next CA signs: {} use a certificate of it. {}\n", ready,
                       waiting == 0 ? "End the trust in the former one with: postern ca finish"
                                    : "When all do: postern ca finish");
  else
    return "No change of the CA is under way; begin one with: postern ca roll\n";
  if (const auto to_come = count_of(answer, "nodes_to_come").value_or(0); to_come != 0)
    text += fmt::format(
        "{} more are approved and have never come; set them up with a group file "
        "and tokens of now.\n",
        to_come);
  return text;
}

std::string authority_text(Session& session, const json::value& answer) {
  const std::string end = text_of(answer, "issuer_not_after");
  const auto until = parse_rfc3339(end);
  std::string text = fmt::format("Certificates are signed by {}, valid until {} (left: {})\n\n",
                                 text_of(answer, "issuer"), end,
                                 until ? left(*until, session.world.clock.wall()) : "-");
  Table anchors({"TRUSTED", "STANDING", "SERIAL", "SHA-256", "VALID UNTIL"});
  for (const json::value& anchor : list_of(answer, "anchors"))
    anchors.add({text_of(anchor, "subject"), text_of(anchor, "standing"), text_of(anchor, "serial"),
                 text_of(anchor, "sha256").substr(0, kFingerprintShown),
                 text_of(anchor, "not_after")});
  text += anchors.text(session.world.columns) + "\n" + state_words(answer);
  Table waiting({"WAITS FOR", "ROLE", "CONNECTED", "LAST SEEN", "BECAUSE IT"});
  for (const json::value& node : list_of(answer, "waiting"))
    waiting.add({text_of(node, "name"), text_of(node, "role"),
                 flag_of(node, "connected") ? "yes" : "no", when(session, node, "last_seen"),
                 text_of(node, "reason")});
  if (!waiting.empty()) text += "\n" + waiting.text(session.world.columns);
  return text;
}

json::object leave_behind(const Session& session) {
  return {{"leave_behind", session.options.leave_behind}};
}

}  // namespace

int show_authority(Session& session) { return draw(session, "/api/v1/authority", authority_text); }

int roll_authority(Session& session) {
  return print(session, session.client->post("/api/v1/authority/roll"), authority_text);
}

int switch_authority(Session& session) {
  return print(session, session.client->post("/api/v1/authority/switch", leave_behind(session)),
               [](Session& s, const json::value& answer) {
                 return authority_text(s, answer) +
                        "Group files and tokens from before the roll-over name the former CA "
                        "alone: make them anew.\n";
               });
}

int finish_authority(Session& session) {
  return print(session, session.client->post("/api/v1/authority/finish", leave_behind(session)),
               authority_text);
}

}  // namespace postern::cli
