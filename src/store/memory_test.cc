#include "store/memory.h"

#include <gtest/gtest.h>

#include "store/store_conformance.h"

namespace postern::store {
namespace {

/// Reopening makes a new view of the same memory.
class MemoryBackend final : public Backend {
 public:
  Result<std::unique_ptr<Store>> open() override {
    auto store = memory_.view();
    store->fail_when([this](std::string_view doing) -> std::optional<Error> {
      if (refused_.empty() || doing != refused_) return std::nullopt;
      return Error{Errc::unavailable, "refused by the test"};
    });
    return store;
  }
  Result<std::unique_ptr<Store>> open_after_power_loss() override { return memory_.copy(); }
  void refuse_metric(const std::string& metric) override { refused_ = "latest value " + metric; }

 private:
  MemoryStore memory_;
  std::string refused_;
};

INSTANTIATE_TEST_SUITE_P(Memory, StoreConformance,
                         testing::Values<BackendMaker>([]() -> std::unique_ptr<Backend> {
                           return std::make_unique<MemoryBackend>();
                         }));

Apply batch_of(std::uint64_t n) {
  Apply apply;
  apply.header.sequence = n;
  apply.hash.fill(static_cast<std::byte>(n));
  if (n > 1) apply.header.previous.fill(static_cast<std::byte>(n - 1));
  apply.message = std::make_shared<const Bytes>(100);
  return apply;
}
std::uint64_t applied_to(Store& store) {
  const auto coverage = store.applied({}).value();
  return coverage.intervals.empty() ? 0 : coverage.intervals.back().last;
}

TEST(MemoryStore, ViewsShareOneMemoryThatOutlivesTheFirstOfThem) {
  auto first = std::make_unique<MemoryStore>();
  auto second = first->view();
  ASSERT_TRUE(first->apply(std::vector{batch_of(1)}));
  first.reset();
  EXPECT_EQ(second->apply(std::vector{batch_of(1), batch_of(2)}).value(),
            (std::vector{Outcome::duplicate, Outcome::applied}));
}

TEST(MemoryStore, ACopyStaysAsItWasAndCanBeRestoredForAllViews) {
  MemoryStore store;
  const auto view = store.view();
  ASSERT_TRUE(store.apply(std::vector{batch_of(1)}));
  const auto backup = store.copy();
  EXPECT_EQ(backup->archive({}, 1).value()[0].message, store.archive({}, 1).value()[0].message)
      << "the very same bytes";
  ASSERT_TRUE(store.apply(std::vector{batch_of(2)}));
  EXPECT_EQ(applied_to(*backup), 1u);
  view->restore(*backup);
  EXPECT_EQ(applied_to(store), 1u) << "the commit is lost";
  ASSERT_TRUE(store.apply(std::vector{batch_of(2)}));
  EXPECT_EQ(applied_to(*view), 2u);
  EXPECT_EQ(applied_to(*backup), 1u);
}

TEST(MemoryStore, ACallThatFailsChangesNothingAndOnlyTheViewWithTheHookFails) {
  MemoryStore store;
  const auto view = store.view();
  view->fail_when([](std::string_view doing) -> std::optional<Error> {
    return doing == "applying batches" ? std::optional(Error{Errc::exhausted, "full"})
                                       : std::nullopt;
  });
  EXPECT_EQ(view->apply(std::vector{batch_of(1)}).error().code, Errc::exhausted);
  EXPECT_EQ(applied_to(*view), 0u);
  EXPECT_TRUE(store.apply(std::vector{batch_of(1)}));
  view->fail_when({});
  EXPECT_TRUE(view->apply(std::vector{batch_of(2)}));
}

}  // namespace
}  // namespace postern::store
