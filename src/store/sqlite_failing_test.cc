// The N-th call to the disk fails, once or from then on, for N = 1, 2, 3 ... until none is left to
// fail: what a call returned for is there, and what failed is there whole or not at all.

#include <filesystem>

#include "store/failing_vfs.h"
#include "store/store_conformance.h"

namespace postern::store {
namespace {

using Failing = FailingVfs::Failing;

struct Fault {
  Failing how = Failing::once;
  int code = SQLITE_IOERR;
  const char* name = "";
};

class SqliteFailing : public testing::TestWithParam<Fault> {
 protected:
  SqliteFailing() {
    folder_ = testing::TempDir() + "/store-XXXXXX";
    if (!mkdtemp(folder_.data())) throw std::runtime_error("no temporary folder");
  }
  ~SqliteFailing() override {
    store_.reset();
    std::filesystem::remove_all(folder_);
  }

  static constexpr std::uint64_t kEnough = 2000;  // calls that no operation here makes
  static wire::StreamKey stream() {
    wire::StreamKey key;
    key.node.bytes.fill(std::byte{1});
    key.epoch = {1, 7};
    return key;
  }
  static Digest hash_of(std::uint64_t n) {
    Digest digest{};
    digest.fill(static_cast<std::byte>(n));
    return digest;
  }
  static Apply batch(std::uint64_t n) {
    Apply apply;
    apply.header.stream = stream();
    apply.header.sequence = n;
    apply.header.previous = hash_of(n - 1);
    apply.hash = hash_of(n);
    apply.message = std::make_shared<const Bytes>(3000, static_cast<std::byte>(n));
    apply.effects.values.push_back(
        {"m", "1", "{}", static_cast<double>(n), false, wall_from_ms(5)});
    apply.arrived = wall_from_ms(static_cast<std::int64_t>(n * 1000));
    return apply;
  }

  void begin_anew() {
    store_.reset();
    path_ = fmt::format("{}/{}.db", folder_, ++files_);
    ASSERT_TRUE(reopen());
    ASSERT_TRUE(store_->apply(std::vector{batch(1), batch(2)}));
  }
  Result<> reopen() {
    store_.reset();
    auto opened = open_sqlite(path_);
    if (!opened) return std::unexpected(opened.error());
    store_ = std::move(*opened);
    return {};
  }
  /// How far the stream is applied; archive and latest value must say the same.
  std::uint64_t applied() {
    const auto coverage = store_->applied(stream()).value();
    EXPECT_EQ(coverage.intervals.size(), 1u) << "no hole";
    const std::uint64_t last = coverage.intervals.back().last;
    EXPECT_EQ(store_->archive(stream().node, 100).value().size(), last);
    EXPECT_EQ(store_->latest(stream().node).value().at(0).value, static_cast<double>(last));
    return last;
  }
  void fail_at(std::uint64_t nth) { vfs_.fail_at(nth, GetParam().how, GetParam().code); }

  FailingVfs vfs_;
  std::string folder_, path_;
  int files_ = 0;
  std::unique_ptr<Store> store_;
};

TEST_P(SqliteFailing, ABatchIsAppliedWholeOrNotAtAll) {
  for (std::uint64_t nth = 1;; ++nth) {
    ASSERT_LT(nth, kEnough);
    SCOPED_TRACE(nth);
    begin_anew();
    fail_at(nth);
    const auto outcome = store_->apply(std::vector{batch(3), batch(4)});
    const bool failed = vfs_.failed();
    vfs_.heal();
    if (!outcome) {
      EXPECT_NE(outcome.error().message.find(path_), std::string::npos)
          << "names the file: " << outcome.error().message;
    }
    const auto again = store_->apply(std::vector{batch(3), batch(4), batch(5)});
    ASSERT_TRUE(again) << "recovers by itself: " << again.error().message;
    if (outcome) {
      EXPECT_EQ(again->at(0), Outcome::duplicate) << "it was promised";
    }
    ASSERT_TRUE(reopen());
    EXPECT_EQ(applied(), 5u);
    if (!failed) break;
  }
}

TEST_P(SqliteFailing, WhatWasPromisedIsThereAfterAStartInTheMiddle) {
  for (std::uint64_t nth = 1;; ++nth) {
    ASSERT_LT(nth, kEnough);
    SCOPED_TRACE(nth);
    begin_anew();
    fail_at(nth);
    const auto outcome = store_->apply(std::vector{batch(3)});
    const auto tidied = store_->tidy();
    store_.reset();  // closing writes the log back, with the fault still there
    const bool failed = vfs_.failed();
    vfs_.heal();
    ASSERT_TRUE(reopen());
    const std::uint64_t last = applied();
    EXPECT_TRUE(last == 3 || (last == 2 && !outcome)) << last;
    if (!failed) break;
  }
}

TEST_P(SqliteFailing, AStoreThatCannotBeOpenedNowIsOpenedLater) {
  for (std::uint64_t nth = 1;; ++nth) {
    ASSERT_LT(nth, kEnough);
    SCOPED_TRACE(nth);
    begin_anew();
    store_.reset();
    fail_at(nth);
    const auto opened = reopen();
    const bool failed = vfs_.failed();
    vfs_.heal();
    if (!opened) {
      EXPECT_NE(opened.error().message.find(path_), std::string::npos) << opened.error().message;
    }
    ASSERT_TRUE(reopen());
    EXPECT_EQ(applied(), 2u);
    if (!failed) break;
  }
}

TEST_P(SqliteFailing, ANewStoreIsMadeWholeOrMadeAgain) {
  for (std::uint64_t nth = 1;; ++nth) {
    ASSERT_LT(nth, kEnough);
    SCOPED_TRACE(nth);
    store_.reset();
    path_ = fmt::format("{}/{}.db", folder_, ++files_);
    fail_at(nth);
    (void)reopen();
    const bool failed = vfs_.failed();
    store_.reset();
    vfs_.heal();
    ASSERT_TRUE(reopen());
    ASSERT_TRUE(store_->apply(std::vector{batch(1)}));
    EXPECT_EQ(applied(), 1u);
    if (!failed) break;
  }
}

TEST_P(SqliteFailing, TheArchiveIsTrimmedWithoutTouchingWhatIsApplied) {
  for (std::uint64_t nth = 1;; ++nth) {
    ASSERT_LT(nth, kEnough);
    SCOPED_TRACE(nth);
    begin_anew();
    fail_at(nth);
    const auto gone = store_->trim_archive(wall_from_ms(1500), 1ull << 30, 100);
    const bool failed = vfs_.failed();
    vfs_.heal();
    ASSERT_TRUE(reopen());
    EXPECT_EQ(store_->applied(stream()).value().intervals.back().last, 2u);
    const std::size_t kept = store_->archive(stream().node, 100).value().size();
    EXPECT_TRUE(kept == 1 || (kept == 2 && !gone)) << kept;
    if (!failed) break;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Faults, SqliteFailing,
    testing::Values(Fault{Failing::once, SQLITE_IOERR, "IoErrorOnce"},
                    Fault{Failing::from_then_on, SQLITE_IOERR, "IoErrorFromThenOn"},
                    Fault{Failing::once, SQLITE_FULL, "FullOnce"},
                    Fault{Failing::from_then_on, SQLITE_FULL, "FullFromThenOn"}),
    [](const auto& fault) { return std::string(fault.param.name); });

}  // namespace
}  // namespace postern::store
