#pragma once

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>

#include "store/store.h"

namespace postern::store {

/// What a kind of store offers to be tested: one empty database, gone with the object.
class Backend {
 public:
  virtual ~Backend() = default;
  /// Opens the database; what an earlier store left is there.
  virtual Result<std::unique_ptr<Store>> open() = 0;
  /// Opens what would be left if the power went now, while the store is open.
  virtual Result<std::unique_ptr<Store>> open_after_power_loss() = 0;
  /// From now on the database itself fails when a latest value of this metric is written.
  virtual void refuse_metric(const std::string& metric) = 0;
};
using BackendMaker = std::unique_ptr<Backend> (*)();

/// The suite that every Store passes (store_conformance_test.cc). A backend instantiates it with
/// its BackendMaker.
class StoreConformance : public testing::TestWithParam<BackendMaker> {
 protected:
  StoreConformance() : backend_(GetParam()()) { reopen(); }

  void reopen() {
    store_.reset();
    auto store = backend_->open();
    if (!store) throw std::runtime_error(store.error().message);
    store_ = std::move(*store);
  }

  static Digest hash_of(std::uint64_t n, std::uint8_t salt = 0) {
    Digest digest{};
    if (n == 0) return digest;
    for (std::size_t i = 0; i < 8; ++i) digest[i] = static_cast<std::byte>(n >> (8 * i));
    digest[31] = static_cast<std::byte>(salt);
    return digest;
  }
  static NodeId node_id(std::uint8_t n) {
    NodeId id;
    id.bytes.fill(static_cast<std::byte>(n));
    return id;
  }
  static wire::StreamKey stream(wire::Lane lane = wire::Lane::metric, wire::Epoch epoch = {1, 7}) {
    return {node_id(1), epoch, lane};
  }
  static wire::Interval interval(std::uint64_t first, std::uint64_t last) {
    return {first, last, hash_of(last)};
  }

  static Apply batch(const wire::StreamKey& key, std::uint64_t n, Effects effects = {}) {
    Apply apply;
    apply.header.stream = key;
    apply.header.sequence = n;
    apply.header.previous = hash_of(n - 1);
    apply.hash = hash_of(n);
    apply.message = std::make_shared<const Bytes>(to_bytes(fmt::format("{} {}", key.text(), n)));
    apply.effects = std::move(effects);
    apply.arrived = wall_from_ms(static_cast<std::int64_t>(n * 1000));
    return apply;
  }
  static Effects value(const std::string& metric, double number) {
    Effects effects;
    effects.values.push_back({metric, "1", "{}", number, false, wall_from_ms(5)});
    return effects;
  }
  static Effects gap(std::uint64_t first, std::uint64_t last) {
    Effects effects;
    effects.gap =
        wire::GapRecord{stream(), first, last, hash_of(first - 1),           hash_of(last), {},
                        {},       7,     8,    wire::GapRecord::Reason::shed};
    return effects;
  }
  std::vector<Outcome> apply(const std::vector<Apply>& batches) {
    auto outcomes = store_->apply(batches);
    EXPECT_TRUE(outcomes) << outcomes.error().message;
    return outcomes ? *outcomes : std::vector<Outcome>();
  }

  /// By value: a loop over the inside of a temporary Result would outlive it.
  template <typename T>
  static T got(Result<T> result) {
    return std::move(result).value();
  }
  /// All that batches have done to a node, as text without its id: equal texts are equal states.
  static std::string state_of(Store& store, const NodeId& node = node_id(1)) {
    std::string text;
    for (const StreamRow& row : got(store.streams(node))) {
      text += fmt::format("epoch {} {} {} sealed {}", row.stream.epoch.ordinal,
                          row.stream.epoch.random, wire::to_string(row.stream.lane), row.sealed);
      for (const auto& [kind, list] :
           {std::pair{"applied", row.applied}, std::pair{"gap", row.gaps},
            std::pair{"settled", store.settled_coverage(row.stream).value().intervals}})
        for (const wire::Interval& i : list)
          text += fmt::format(" {} {}-{} {}", kind, i.first, i.last, to_hex(i.hash));
      text += "\n";
    }
    for (const LatestValue& v : got(store.latest(node)))
      text += fmt::format("{} {} {} {} {} {}\n", v.metric, v.unit, v.attributes, v.value, v.integer,
                          to_ms(v.time));
    for (const Entity& e : got(store.entities(node)))
      text += fmt::format("{} {} {} {}\n", e.type, e.id, e.attributes, to_ms(e.time));
    std::vector<std::string> archived;
    for (const ArchivedBatch& a : got(store.archive(node, 1000)))
      archived.push_back(to_string(*a.message));
    std::ranges::sort(archived);
    for (const std::string& a : archived) text += a + "\n";
    return text + fmt::format("{} equivocations\n", store.equivocation_count().value());
  }

  static Node a_node(const std::string& name, std::uint8_t id, Standing standing) {
    Node node;
    node.name = name;
    if (id != 0) node.id = node_id(id);
    node.standing = standing;
    return node;
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Store> store_;
};

}  // namespace postern::store
