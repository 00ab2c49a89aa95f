#include "cli/session.h"

#include <fmt/format.h>

#include "cli/render.h"
#include "cli/table.h"
#include "cli/words.h"

namespace postern::cli {
namespace {

namespace json = boost::json;

const json::value* member_of(const json::value& object, std::string_view member) {
  const json::object* members = object.if_object();
  return members == nullptr ? nullptr : members->if_contains(member);
}

constexpr const char* kClearScreen = "\x1b[H\x1b[2J";

}  // namespace

int say_failure(Session& session, const std::string& message) {
  session.world.err << "postern " << session.options.verb << ": " << message << '\n';
  return kExitFailed;
}

int print(Session& session, const Answered& answer,
          std::string (*table)(Session&, const json::value&)) {
  if (!answer) return say_failure(session, answer.error().message);
  switch (session.options.output) {
    case Format::json:
      session.world.out << to_json_text(*answer);
      break;
    case Format::yaml:
      session.world.out << to_yaml_text(*answer);
      break;
    case Format::table:
      session.world.out << table(session, *answer);
      break;
  }
  session.world.out.flush();
  return session.world.out ? kExitDone : say_failure(session, "standard output cannot be written");
}

int draw(Session& session, const std::string& target,
         std::string (*table)(Session&, const json::value&)) {
  if (!session.options.watch_seconds) return print(session, session.client->get(target), table);
  World& world = session.world;
  world.on_watch();
  bool first = true;
  do {
    const Answered answer = session.client->get(target);
    // Asked first, cleared then: the old picture stands until the new one is there.
    if (world.terminal)
      world.out << kClearScreen;
    else if (!first)
      world.out << (session.options.output == Format::yaml ? "---\n" : "\n");
    first = false;
    if (session.options.output == Format::table) {
      world.out << to_rfc3339(world.clock.wall())
                << (world.terminal ? "  (Ctrl-C ends it)\n\n" : "\n")
                << (answer ? table(session, *answer) : answer.error().message + '\n') << std::flush;
      if (!world.out) return kExitFailed;
    } else if (print(session, answer, table) != kExitDone && answer) {
      return kExitFailed;
    }
  } while (world.pause(std::chrono::seconds(*session.options.watch_seconds)));
  return kExitDone;
}

std::string text_of(const json::value& object, std::string_view member) {
  const json::value* value = member_of(object, member);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

bool flag_of(const json::value& object, std::string_view member) {
  const json::value* value = member_of(object, member);
  return value != nullptr && value->is_bool() && value->get_bool();
}

std::optional<std::int64_t> count_of(const json::value& object, std::string_view member) {
  const json::value* value = member_of(object, member);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  json::error_code failed;
  const auto count = value->to_number<std::int64_t>(failed);
  if (failed) return std::nullopt;
  return count;
}

const json::array& list_of(const json::value& object, std::string_view member) {
  static const json::array kNone;
  const json::value* value = member_of(object, member);
  return value != nullptr && value->is_array() ? value->get_array() : kNone;
}

std::vector<std::string> texts_of(const json::value& object, std::string_view member) {
  std::vector<std::string> texts;
  for (const json::value& item : list_of(object, member))
    if (item.is_string()) texts.emplace_back(item.get_string());
  return texts;
}

std::string or_dash(std::string text) { return text.empty() ? "-" : text; }

std::string joined(const std::vector<std::string>& list) {
  return or_dash(fmt::format("{}", fmt::join(list, ", ")));
}

std::string when(Session& session, const json::value& object, std::string_view member) {
  const auto time = parse_rfc3339(text_of(object, member));
  return time ? ago(*time, session.world.clock.wall()) : "-";
}

std::string health_text(const json::value& node) {
  const std::string via = text_of(node, "via");
  return or_dash(text_of(node, "health")) + (via.empty() ? "" : " via " + via);
}

std::string lifetime_left(Session& session, const json::value& object) {
  const auto end = parse_rfc3339(text_of(object, "certificate_not_after"));
  return end ? left(*end, session.world.clock.wall()) : "-";
}

}  // namespace postern::cli
