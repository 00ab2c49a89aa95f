#include <algorithm>

#include "cli/session.h"
#include "cli/table.h"
#include "cli/words.h"

namespace postern::cli {
namespace {

namespace json = boost::json;

constexpr std::size_t kFingerprintShown = 16;  // hex digits, as many as tell them apart by eye

/// Whose certificate ends next stands first; those of which none is known come last.
std::string certificates_table(Session& session, const json::value& answer) {
  struct Row {
    std::optional<WallTime> end;
    const json::value* item;
  };
  std::vector<Row> rows;
  for (const json::value& item : list_of(answer, "items"))
    rows.push_back({parse_rfc3339(text_of(item, "not_after")), &item});
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    if (a.end != b.end) return a.end && (!b.end || *a.end < *b.end);
    return text_of(*a.item, "node") < text_of(*b.item, "node");
  });
  Table table({"NODE", "ROLE", "LEFT", "VALID UNTIL", "SHA-256", "SEEN THROUGH", "LAST SEEN"});
  for (const auto& [end, item] : rows) {
    std::string path;
    for (const json::value& hop : list_of(*item, "path"))
      if (hop.is_string()) path += (path.empty() ? "" : ", ") + std::string(hop.as_string());
    table.add({text_of(*item, "node"), text_of(*item, "role"),
               end ? left(*end, session.world.clock.wall()) : "-",
               or_dash(text_of(*item, "not_after")),
               or_dash(text_of(*item, "sha256").substr(0, kFingerprintShown)), or_dash(path),
               when(session, *item, "last_seen")});
  }
  return table.empty() ? "No node has shown a certificate yet.\n"
                       : table.text(session.world.columns);
}

}  // namespace

int list_certificates(Session& session) {
  return draw(session, "/api/v1/certificates", certificates_table);
}

}  // namespace postern::cli
