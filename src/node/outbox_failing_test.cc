// Epoch file, outbox and spool together, as a node uses them at its start: the N-th call to the
// disk fails, once or from then on, for N = 1, 2, 3 ...; then the power goes. What was promised is
// there, no number was ever given twice, and no stream has a hole (rules D1, D2).

#include <gtest/gtest.h>

#include <map>

#include "base/fake_disk.h"
#include "node/outbox.h"
#include "node/test_group.h"
#include "spool/spool.h"

namespace postern::node {
namespace {

using testing_support::kWall;
using testing_support::payload_of;

const std::filesystem::path kState = "state";
constexpr std::uint64_t kEnough = 2000;  // calls that no life here makes
constexpr int kBatches = 4;              // of each lane, in one life
constexpr int kAttempts = 3;

class OutboxFailing : public testing::TestWithParam<FakeDisk::Failing> {
 protected:
  using Number = std::pair<wire::StreamKey, std::uint64_t>;

  /// Everything that the spool has, into `relay`. Nothing when the disk fails.
  std::unique_ptr<spool::Spool> open_spool(relay::Relay& relay) {
    spool::Options options;
    options.segment_bytes = 4096;
    options.preallocate = true;
    auto opened = spool::Spool::open(*disk_, log_, kState / "spool", options);
    if (!opened) return nullptr;
    for (const spool::Entry& entry : opened->entries) {
      relay::Held held{entry.stream, entry.sequence, entry.hash, entry.location, nullptr};
      if (entry.summary) held.previous = entry.summary->previous;
      relay.added(std::move(held));
    }
    return std::move(opened->spool);
  }
  /// As Node does: the same batch until it is on the disk, or the process ends.
  bool write(spool::Spool& spool, const Outbox::Sealed& sealed) {
    const Number number{sealed.stream, sealed.sequence};
    const spool::Spool::Append append{sealed.stream, sealed.sequence, sealed.hash, sealed.message,
                                      sealed.makes_room};
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      if (!spool.append({&append, 1})) continue;
      EXPECT_TRUE(promised_.emplace(number, sealed.hash).second || promised_[number] == sealed.hash)
          << "a number was given twice: " << sealed.stream.text() << " " << sealed.sequence;
      return true;
    }
    return false;
  }
  /// One life of a node; false when the disk ended it.
  bool live() {
    relay::Relay relay(id_, {});
    if (!disk_->make_directories(kState)) return false;
    auto spool = open_spool(relay);
    if (!spool) return false;
    auto choice = choose_epoch(*disk_, kState, id_, relay, spool->usage().quarantined, random_);
    if (!choice) return false;
    Outbox outbox(key_, choice->epoch);
    outbox.resume(relay);
    if (choice->opening && !write(*spool, outbox.seal_opening(*choice->opening, kWall)))
      return false;
    for (int n = 0; n < kBatches; ++n)
      for (const wire::Lane lane : {wire::Lane::state, wire::Lane::metric}) {
        const auto text = fmt::format("{} {}", n, std::string(600, 'x'));
        if (!write(*spool, outbox.seal(lane, wire::PayloadKind::metrics, payload_of(text), kWall)))
          return false;
        while (spool->untidy()) spool->tidy();
      }
    return true;
  }
  void check() {
    relay::Relay relay(id_, {});
    auto spool = open_spool(relay);
    ASSERT_TRUE(spool);
    for (const auto& [number, hash] : promised_) {
      const relay::Held* held = relay.copy_of(number.first, number.second);
      ASSERT_NE(held, nullptr) << "lost: " << number.first.text() << " " << number.second;
      EXPECT_EQ(held->hash, hash);
      EXPECT_TRUE(spool->read(held->location));
      // One that was not promised may have survived as well.
      for (std::uint64_t n = 1; n < number.second; ++n)
        ASSERT_NE(relay.copy_of(number.first, n), nullptr)
            << "a hole in " << number.first.text() << " at " << n;
    }
  }

  const PrivateKey key_ = PrivateKey::generate();
  const NodeId id_ = key_.node_id();
  const Log log_{Level::error, [](Level, std::string_view) {}};
  std::unique_ptr<FakeDisk> disk_;
  SeededRandom random_{7};
  std::map<Number, Digest> promised_;
};

TEST_P(OutboxFailing, WhatWasPromisedIsThereAndNoNumberIsGivenTwice) {
  for (std::uint64_t nth = 1;; ++nth) {
    ASSERT_LT(nth, kEnough);
    SCOPED_TRACE(nth);
    disk_ = std::make_unique<FakeDisk>(nth);
    promised_.clear();
    disk_->fail_at(nth, GetParam());
    (void)live();
    const bool failed = disk_->failed();
    disk_->heal();
    disk_->crash();
    EXPECT_TRUE(live()) << "recovers by itself";
    disk_->crash();
    check();
    if (HasFailure() || !failed) break;
  }
}

INSTANTIATE_TEST_SUITE_P(Faults, OutboxFailing,
                         testing::Values(FakeDisk::Failing::once, FakeDisk::Failing::from_then_on),
                         [](const auto& fault) {
                           return std::string(
                               fault.param == FakeDisk::Failing::once ? "Once" : "FromThenOn");
                         });

}  // namespace
}  // namespace postern::node
