#include "relay/parents.h"

#include <algorithm>

#include "base/invariant.h"

namespace postern::relay {

void ParentOrder::set(const std::vector<std::string>& names) {
  std::vector<Entry> entries;
  for (const std::string& name : names) {
    const auto known = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& e) { return e.name == name; });
    entries.push_back(known == entries_.end() ? Entry{name, 0, {}} : *known);
  }
  entries_ = std::move(entries);
}

ParentOrder::Next ParentOrder::next() const {
  invariant(!entries_.empty(), "a node has a parent");
  std::size_t best = 0;
  for (std::size_t i = 1; i < entries_.size(); ++i)
    if (entries_[i].not_before < entries_[best].not_before) best = i;
  return {best, entries_[best].not_before};
}

void ParentOrder::failed(std::size_t index, TimePoint now, Duration retry_after) {
  if (index >= entries_.size()) return;
  Entry& entry = entries_[index];
  const unsigned doublings = std::min(entry.failures, 10u);
  const Duration backoff = std::min(kBackoffMax, kBackoffFirst * (1 << doublings));
  ++entry.failures;
  const Duration wait = retry_after > Duration{} ? std::min(retry_after, kRetryAfterMax) : backoff;
  // A quarter of jitter, so that a thousand children do not come back in one instant.
  const auto jitter =
      static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(wait.count() / 4 + 1)));
  entry.not_before = now + wait + Duration(jitter);
}

void ParentOrder::attached(std::size_t index) {
  if (index < entries_.size()) entries_[index] = {entries_[index].name, 0, {}};
}

void ParentOrder::lost(std::size_t index, TimePoint now) {
  failed(index, now);
  // The others may have failed long ago for a reason that is gone: one try each, at once.
  for (std::size_t i = 0; i < entries_.size(); ++i)
    if (i != index) entries_[i].not_before = std::min(entries_[i].not_before, now);
}

}  // namespace postern::relay
