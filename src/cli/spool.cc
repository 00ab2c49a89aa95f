// postern spool ls|verify|export: the spool of a role of this machine, whether it runs or not.

#include "spool/inspect.h"

#include <fmt/format.h>

#include "base/quantity.h"
#include "cli/session.h"
#include "cli/table.h"

namespace postern::cli {
namespace {

namespace json = boost::json;
using spool::Inspection;

std::filesystem::path folder_of(const Session& session) {
  return std::filesystem::path(session.options.state.value_or("")) / "spool";
}

json::array to_json(const std::vector<Inspection::Damage>& all) {
  json::array items;
  for (const Inspection::Damage& damage : all) {
    json::object item;
    item["file"] = damage.file;
    item["offset"] = damage.offset;
    item["bytes"] = damage.bytes;
    item["what"] = damage.what;
    items.push_back(std::move(item));
  }
  return items;
}

json::object to_json(const wire::StreamKey& key, const Inspection::Stream& stream) {
  json::array ranges;
  for (const Inspection::Range& range : stream.ranges)
    ranges.push_back(json::array{range.first, range.last});
  json::object item;
  item["stream"] = key.text();
  item["ranges"] = std::move(ranges);
  item["batches"] = stream.batches;
  item["bytes"] = stream.bytes;
  item["settled"] = stream.settled;
  return item;
}

std::uint64_t number_of(const json::value& object, std::string_view member) {
  return static_cast<std::uint64_t>(count_of(object, member).value_or(0));
}

constexpr std::size_t kRangesShown = 3;

std::string ranges_text(const json::value& stream) {
  std::string text;
  std::size_t shown = 0;
  const json::array& ranges = list_of(stream, "ranges");
  for (const json::value& range : ranges) {
    if (shown++ == kRangesShown) return fmt::format("{} +{}", text, ranges.size() - kRangesShown);
    const auto first = range.at(0).to_number<std::uint64_t>();
    const auto last = range.at(1).to_number<std::uint64_t>();
    text += (text.empty() ? "" : ",") +
            (first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last));
  }
  return or_dash(text);
}

std::string listing_text(Session& session, const json::value& answer) {
  Table table({"STREAM", "BATCHES", "BYTES", "NUMBERS", "SETTLED UP TO"});
  for (const json::value& stream : list_of(answer, "items"))
    table.add({text_of(stream, "stream"), std::to_string(number_of(stream, "batches")),
               format_bytes(number_of(stream, "bytes")), ranges_text(stream),
               std::to_string(number_of(stream, "settled"))});
  std::string text =
      table.empty() ? "The spool holds no batch.\n" : table.text(session.world.columns);
  text += fmt::format("{} in {} segments, {} of them with an index; {} files in quarantine\n",
                      format_bytes(number_of(answer, "bytes")), number_of(answer, "segments"),
                      number_of(answer, "indexed"), number_of(answer, "quarantined"));
  return text;
}

std::string damage_text(Session& session, const json::value& answer) {
  if (list_of(answer, "damage").empty()) return "";
  Table table({"FILE", "OFFSET", "BYTES", "WHAT"});
  for (const json::value& damage : list_of(answer, "damage"))
    table.add({text_of(damage, "file"), std::to_string(number_of(damage, "offset")),
               std::to_string(number_of(damage, "bytes")), text_of(damage, "what")});
  return table.text(session.world.columns);
}

std::string verified_text(Session& session, const json::value& answer) {
  const std::size_t damages = list_of(answer, "damage").size();
  return damage_text(session, answer) +
         fmt::format(
             "{} records in {} segments ({}) were read: {}; {} files in quarantine were "
             "not\n",
             number_of(answer, "records"), number_of(answer, "segments"),
             format_bytes(number_of(answer, "bytes")),
             damages == 0 ? "no damage" : fmt::format("damage in {} places", damages),
             number_of(answer, "quarantined"));
}

std::string exported_text(Session& session, const json::value& answer) {
  return damage_text(session, answer) + fmt::format("{} batches ({}) are in {}\n",
                                                    number_of(answer, "batches"),
                                                    format_bytes(number_of(answer, "bytes")),
                                                    session.options.out_file.value_or(""));
}

}  // namespace

int list_spool(Session& session) {
  const auto spool = Inspection::of(session.world.disk, folder_of(session));
  if (!spool) return say_failure(session, spool.error().message);
  const auto listing = spool->list();
  if (!listing) return say_failure(session, listing.error().message);
  json::array items;
  for (const auto& [key, stream] : listing->streams) items.push_back(to_json(key, stream));
  json::object answer;
  answer["items"] = std::move(items);
  answer["segments"] = listing->segments;
  answer["indexed"] = listing->indexed;
  answer["quarantined"] = listing->quarantined;
  answer["bytes"] = listing->bytes;
  return print(session, json::value(std::move(answer)), listing_text);
}

int verify_spool(Session& session) {
  const auto spool = Inspection::of(session.world.disk, folder_of(session));
  if (!spool) return say_failure(session, spool.error().message);
  const auto verified = spool->verify();
  if (!verified) return say_failure(session, verified.error().message);
  json::object answer;
  answer["damage"] = to_json(verified->damage);
  answer["segments"] = verified->segments;
  answer["records"] = verified->records;
  answer["quarantined"] = verified->quarantined;
  answer["bytes"] = verified->bytes;
  const int printed = print(session, json::value(std::move(answer)), verified_text);
  return verified->damage.empty() ? printed : kExitFailed;
}

int export_spool(Session& session) {
  const auto spool = Inspection::of(session.world.disk, folder_of(session));
  if (!spool) return say_failure(session, spool.error().message);
  const auto exported = spool->export_to(*session.options.out_file);
  if (!exported) return say_failure(session, exported.error().message);
  json::object answer;
  answer["damage"] = to_json(exported->damage);
  answer["batches"] = exported->batches;
  answer["bytes"] = exported->bytes;
  const int printed = print(session, json::value(std::move(answer)), exported_text);
  return exported->damage.empty() ? printed : kExitFailed;
}

}  // namespace postern::cli
