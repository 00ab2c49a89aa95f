#include <algorithm>
#include <array>

#include "probe/collectors.h"
#include "probe/text.h"

namespace postern {
namespace {

constexpr Duration kAnswerMax = std::chrono::seconds(4);
constexpr std::array<const char*, 6> kStates = {"active", "reloading",  "inactive",
                                                "failed", "activating", "deactivating"};

}  // namespace

/// UNIT LOAD ACTIVE SUB DESCRIPTION, a line each. By systemctl rather than by a client of D-Bus of
/// our own: a bounded child that speaks whatever its systemd speaks. Nothing where systemd does not
/// run.
Result<> collect_units(Sample& sample) {
  if (!sample.source.exists("/run/systemd/system")) return {};
  const char* program = "/usr/bin/systemctl";
  if (!sample.source.exists(program)) program = "/bin/systemctl";
  const auto text = sample.source.run(
      {program, "list-units", "--all", "--full", "--plain", "--no-legend", "--no-pager"},
      kAnswerMax);
  if (!text) return std::unexpected(text.error());

  std::array<std::uint64_t, kStates.size()> counts{};
  std::vector<std::string> failed;
  for (const std::string_view line : split_lines(*text)) {
    auto fields = split_fields(line);
    // Some versions mark lines with a dot in spite of --plain.
    if (!fields.empty() && fields[0].find('.') == std::string_view::npos)
      fields.erase(fields.begin());
    if (fields.size() < 4) return fail(Errc::invalid, "{} wrote \"{}\"", program, line);
    if (fields[1] == "not-found") continue;
    for (std::size_t i = 0; i < kStates.size(); ++i)
      if (fields[2] == kStates[i]) ++counts[i];
    if (fields[2] == "failed") failed.emplace_back(fields[0]);
  }
  for (std::size_t i = 0; i < kStates.size(); ++i)
    sample.sum("postern.systemd.unit.count", "{unit}", counts[i],
               {{"postern.systemd.active_state", kStates[i]}});

  std::sort(failed.begin(), failed.end());
  const auto failures = static_cast<std::int64_t>(failed.size());
  if (failed.size() > kFailedUnitsMax) failed.resize(kFailedUnitsMax);
  EntityState units;
  units.type = "postern.systemd";
  units.id = {{"host.name", sample.observer.name}};
  units.attributes = {{"state", failures == 0 ? "healthy" : "warning"},
                      {"failed.count", failures},
                      {"failed.units", std::move(failed)}};
  sample.entity(std::move(units));
  return {};
}

}  // namespace postern
