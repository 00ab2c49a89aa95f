#include "server/numbers.h"

#include <algorithm>
#include <limits>

namespace postern {
namespace {

using node::DocumentType;

/// None when there is none: then the store stays as it is, and the alert says so.
std::optional<std::uint32_t> next_generation(std::uint32_t ours, std::uint32_t shown) {
  const std::uint32_t higher = std::max(ours, shown);
  if (higher == std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  return higher + 1;
}

bool covers(const wire::Coverage& held, const wire::Interval& interval) {
  return std::any_of(held.intervals.begin(), held.intervals.end(), [&](const auto& one) {
    return one.first <= interval.first && interval.last <= one.last;
  });
}

const char* name_of(std::uint32_t type) {
  switch (static_cast<DocumentType>(type)) {
    case DocumentType::approval:
      return "approval";
    case DocumentType::deny:
      return "deny list";
    case DocumentType::configuration:
      return "configuration";
    default:
      return "document";
  }
}

}  // namespace

void Ticks::on_document(std::uint32_t type, const Edition& edition) {
  if (static_cast<DocumentType>(type) == DocumentType::tick) {
    last_ = std::max(last_, edition.second);
    return;
  }
  Edition& newest = newest_[type];
  newest = std::max(newest, edition);
}

wire::pb::DocumentBody Ticks::next(WallTime now, std::uint32_t generation) {
  wire::pb::Tick tick;
  tick.set_time_ms(to_ms(now));
  tick.set_generation(generation);
  for (const auto& [type, edition] : newest_) {
    auto* number = tick.add_numbers();
    number->set_type(type);
    number->set_generation(edition.first);
    number->set_number(edition.second);
  }
  const auto by_clock = static_cast<std::uint64_t>(std::max<std::int64_t>(to_ms(now), 0));
  last_ = std::max(last_ + 1, by_clock);
  wire::pb::DocumentBody body;
  body.set_version(1);
  body.set_type(static_cast<std::uint32_t>(DocumentType::tick));
  body.set_group_id(node::field_of(group_.bytes));
  body.set_generation(generation);
  body.set_number(last_);
  body.set_issued_ms(to_ms(now));
  body.set_payload(tick.SerializeAsString());
  return body;
}

Rewind judge_document(const wire::pb::DocumentBody& shown, std::uint32_t generation,
                      const std::vector<store::StoredDocument>& stored, const SetBacks& set_backs) {
  const auto type = static_cast<DocumentType>(shown.type());
  if (type != DocumentType::approval && type != DocumentType::deny &&
      type != DocumentType::configuration && type != DocumentType::anchors)
    return {};
  std::optional<NodeId> audience;
  if (!shown.audience().empty()) audience = node::node_id_of_field(shown.audience());
  const Edition edition{shown.generation(), shown.number()};
  std::optional<Edition> known;  // of this audience
  std::uint64_t given = 0;       // of this type
  for (const store::StoredDocument& document : stored) {
    given = std::max(given, document.number);
    if (document.audience == audience)
      known = std::max(known.value_or(Edition{}), Edition{document.generation, document.number});
  }
  // What was given out and adopted since says nothing about what was lost before.
  if (const auto set_back = set_backs.lower_bound(shown.generation()); set_back != set_backs.end())
    given = set_back->second;
  if (shown.generation() <= generation && shown.number() <= given) return {};
  if (known && (type == DocumentType::deny ? edition == *known : edition <= *known)) return {};

  Rewind rewind;
  rewind.adopt = true;
  if (shown.generation() >= generation)  // else one was opened since
    rewind.open_generation = next_generation(generation, shown.generation());
  rewind.words = fmt::format(
      "a node shows {} {} of generation {}, signed by this group; the store had given out numbers "
      "up to {} and is at generation {}",
      name_of(shown.type()), shown.number(), shown.generation(), given, generation);
  return rewind;
}

Rewind judge_settled(const wire::Settled& shown, const NodeId& group, std::uint32_t generation,
                     const wire::Coverage& held) {
  if (shown.group != group || shown.coverage.stream != held.stream) return {};
  if (shown.generation < generation) return {};
  Rewind rewind;
  const wire::StreamKey& stream = shown.coverage.stream;
  if (shown.generation > generation)
    rewind.words =
        fmt::format("a node shows a settled of {} of generation {}; the store is at generation {}",
                    stream.text(), shown.generation, generation);
  for (const wire::Interval& interval : shown.coverage.intervals) {
    if (!rewind.words.empty()) break;
    if (!covers(held, interval))
      rewind.words = fmt::format(
          "a node shows a settled of {} for batches {} to {}; the store does not have all of them",
          stream.text(), interval.first, interval.last);
  }
  if (rewind.words.empty()) return {};
  rewind.open_generation = next_generation(generation, shown.generation);
  return rewind;
}

Rewind judge_generation(std::uint32_t shown, std::uint32_t generation) {
  Rewind rewind;
  if (shown <= generation) return rewind;
  rewind.words = fmt::format("a node shows a tick of generation {}; the store is at generation {}",
                             shown, generation);
  rewind.open_generation = next_generation(generation, shown);
  return rewind;
}

void deny_lists_first(std::vector<wire::pb::Signed>& documents) {
  const auto is_deny_list = [](const wire::pb::Signed& document) {
    wire::pb::DocumentBody body;
    return body.ParseFromString(document.body()) &&
           static_cast<DocumentType>(body.type()) == DocumentType::deny;
  };
  std::vector<wire::pb::Signed> lists, others;
  for (wire::pb::Signed& document : documents)
    (is_deny_list(document) ? lists : others).push_back(std::move(document));
  documents = std::move(lists);
  for (wire::pb::Signed& document : others) documents.push_back(std::move(document));
}

store::Alert rolled_back_alert(const std::string& words, WallTime now) {
  store::Alert alert;
  alert.cause = "store rolled back";
  alert.severity = "critical";
  alert.words = "store rolled back: " + words +
                ". It was restored from a backup or lost commits; what is missing is asked of the "
                "nodes. Look at approvals and removals made since, then close this alert";
  alert.raised = alert.last = now;
  return alert;
}

}  // namespace postern
