#include <algorithm>

#include "cli/session.h"

namespace postern::cli {
namespace {

namespace json = boost::json;

std::string target_of(const std::string& kind) {
  if (kind == "pending") return "/api/v1/pending";
  if (kind == "alert") return "/api/v1/alerts?open=true";
  if (kind == "gateway" || kind == "agent" || kind == "server") return "/api/v1/nodes?role=" + kind;
  return "/api/v1/nodes";
}

/// A shell will see it: of what a stranger calls itself only what can stand in a name is passed on.
bool plain(const std::string& name) {
  constexpr std::string_view kTaken =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
  return !name.empty() && name[0] != '-' && name.find_first_not_of(kTaken) == name.npos;
}

}  // namespace

/// For the completion scripts. Silent when there is no answer: somebody is typing just now.
int complete_names(Session& session) {
  const std::string& kind = session.options.name;
  const Answered answer = session.client->get(target_of(kind));
  if (!answer) return kExitFailed;
  for (const json::value& item : list_of(*answer, "items")) {
    if (kind == "parent" && text_of(item, "role") == "agent") continue;
    const auto id = count_of(item, "id");
    const std::string name = kind == "alert" && id ? std::to_string(*id) : text_of(item, "name");
    if (plain(name)) session.world.out << name << '\n';
  }
  return kExitDone;
}

}  // namespace postern::cli
