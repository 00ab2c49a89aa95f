#pragma once

#include <functional>

#include "api/service.h"
#include "store/store.h"

namespace postern {

// What one page costs at most: reading belongs to the thread that also commits batches. Beyond one
// of these a page ends early, and says where to go on.
inline constexpr std::size_t kArchivedBatchesAPage = 128;
inline constexpr std::uint64_t kArchivedRawBytesAPage = 8u << 20;  // uncompressed
inline constexpr std::uint64_t kObservedBytesAPage = 4u << 20;     // of what is shown

/// What a batch says to a reader, newest record first, and how much of it cannot be shown.
template <typename Item>
struct Readable {
  std::vector<Item> items;
  std::uint64_t not_shown = 0;
};

/// A page of what a node observed, newest batch first and in it newest record first. `decode` turns
/// a batch of metrics or logs, also one that was sealed again, into the items that are asked for;
/// where it fails the batch stands in `unreadable`. `bytes_of`: about what an item takes in an
/// answer. `invalid` when `query.after` is no place.
template <typename Item>
Result<api::Observations<Item>> read_archive(
    store::Store& store, const NodeId& node, wire::Lane lane, const api::ObservationQuery& query,
    const std::function<Result<Readable<Item>>(const wire::BatchView&)>& decode,
    const std::function<std::size_t(const Item&)>& bytes_of);

/// Of metrics: those whose name is `metric` (empty: all), observed from `since` to `until`.
Result<Readable<api::ValueView>> read_series(const wire::BatchView& batch,
                                             const api::SeriesQuery& query);
/// Of logs: events from `since` to `until`, at least as severe, with the text in their body.
Result<Readable<api::EventView>> read_events(const wire::BatchView& batch,
                                             const api::EventQuery& query);

extern template Result<api::Observations<api::ValueView>> read_archive(
    store::Store&, const NodeId&, wire::Lane, const api::ObservationQuery&,
    const std::function<Result<Readable<api::ValueView>>(const wire::BatchView&)>&,
    const std::function<std::size_t(const api::ValueView&)>&);
extern template Result<api::Observations<api::EventView>> read_archive(
    store::Store&, const NodeId&, wire::Lane, const api::ObservationQuery&,
    const std::function<Result<Readable<api::EventView>>(const wire::BatchView&)>&,
    const std::function<std::size_t(const api::EventView&)>&);

}  // namespace postern
