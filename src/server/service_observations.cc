// What a node observed, read back: its inventory, its series and its events.

#include "server/archive_reader.h"
#include "server/service.h"

namespace postern {
namespace {

using api::Answer;

constexpr std::size_t kItemBytes = 128;  // of members that are always there

template <typename Item>
Answer<api::Observations<Item>> answer_of(Result<api::Observations<Item>> page) {
  if (page) return std::move(*page);
  if (page.error().code == Errc::invalid)
    return std::unexpected(api::problem(api::kProblemInvalid, page.error().message));
  return std::unexpected(api::problem_of(page.error()));
}

}  // namespace

Answer<std::vector<api::EntityView>> ServerService::entities(std::string_view name) {
  const auto node = find(name, std::nullopt);
  if (!node) return std::unexpected(node.error());
  std::vector<api::EntityView> views;
  if (!node->id) return views;
  auto entities = store_.entities(*node->id);
  if (!entities) return std::unexpected(api::problem_of(entities.error()));
  for (store::Entity& entity : *entities)
    views.push_back(
        {std::move(entity.type), std::move(entity.id), std::move(entity.attributes), entity.time});
  return views;
}

Answer<api::Observations<api::ValueView>> ServerService::series(std::string_view name,
                                                                const api::SeriesQuery& query) {
  const auto node = find(name, std::nullopt);
  if (!node) return std::unexpected(node.error());
  if (!node->id) return api::Observations<api::ValueView>();
  return answer_of(read_archive<api::ValueView>(
      store_, *node->id, wire::Lane::metric, query,
      [&](const wire::BatchView& batch) { return read_series(batch, query); },
      [](const api::ValueView& value) {
        return kItemBytes + value.metric.size() + value.attributes.size();
      }));
}

Answer<api::Observations<api::EventView>> ServerService::events(std::string_view name,
                                                                const api::EventQuery& query) {
  const auto node = find(name, std::nullopt);
  if (!node) return std::unexpected(node.error());
  if (!node->id) return api::Observations<api::EventView>();
  return answer_of(read_archive<api::EventView>(
      store_, *node->id, wire::Lane::event, query,
      [&](const wire::BatchView& batch) { return read_events(batch, query); },
      [](const api::EventView& event) {
        return kItemBytes + event.body.size() + event.attributes.size();
      }));
}

}  // namespace postern
