#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "wire/batch.h"

namespace postern::relay {

/// Decides how much each child may send, per lane, in bytes (rule C4, channel.md#W31). It owns
/// nothing; the caller sends what it says.
///
/// A child is owed the bytes that were granted to it and are not yet taken off its hands: those may
/// be on the wire, or in our memory on the way to the disk. `state` always has room for one whole
/// batch of every child; everything beyond that, over all children, stays below granted_bytes_max.
///
/// What was granted cannot be taken back, and most children are idle most of the time. So a child
/// begins with a small window that grows to its fair share when it is used: half of the limit,
/// shared equally, which shrinks as children grow in number. The other half is for turns: where
/// windows are smaller than a batch, children that want() get a whole batch, one after the other.
class CreditBook {
 public:
  struct Limits {
    std::uint64_t granted_bytes_max = 256u << 20;
    std::uint64_t window_bytes_max = 8u << 20;  // of one child and lane
    std::uint64_t first_bytes_min = 32u << 10;  // what a child begins with, or its fair share
  };
  using Totals = std::array<std::uint64_t, 3>;  // per lane, since the connection began
  struct Grant {
    std::uint64_t channel = 0;
    Totals totals{};
    bool operator==(const Grant&) const = default;
  };

  explicit CreditBook(Limits limits) : limits_(limits) {}

  /// A new connection; what its welcome grants.
  Totals on_child(std::uint64_t channel);
  void gone(std::uint64_t channel);
  /// A batch message came in. False: it is more than was granted, a protocol error.
  [[nodiscard]] bool on_received(std::uint64_t channel, wire::Lane lane, std::uint64_t bytes);
  /// It was taken off the child's hands, stored or refused. The new totals, when they are worth a
  /// message.
  std::optional<Totals> on_taken(std::uint64_t channel, wire::Lane lane, std::uint64_t bytes);
  /// It has more to send than we hold (its offer or its head says so): if its window is smaller
  /// than a batch, it gets a whole one when its turn comes.
  void wants(std::uint64_t channel, wire::Lane lane);
  /// The spool is full: nothing more for `event` and `metric`, and one batch for `state`, until
  /// there is room again.
  void set_full(bool full);
  /// Grants that became due by gone(), on_taken(), wants() or set_full() for anybody: to be sent.
  std::vector<Grant> take_grants();

  /// What all children are owed beyond their one batch of `state`.
  std::uint64_t granted_bytes() const { return owed_; }

 private:
  struct Account {
    std::uint64_t received = 0, taken = 0, granted = 0;
    bool waits = false;    // for its turn
    bool in_turn = false;  // has a whole batch for once
    std::uint64_t open() const { return granted - taken; }
  };
  using Accounts = std::array<Account, 3>;

  static std::uint64_t floor_of(std::size_t lane) {
    return lane == wire::index_of(wire::Lane::state) ? wire::kBatchMessageBytesMax : 0;
  }
  static std::uint64_t beyond_floor(const Account& account, std::size_t lane);
  std::uint64_t window(std::size_t lane) const;
  std::uint64_t first_window(std::size_t lane) const;
  bool raise(Account& account, std::size_t lane, std::uint64_t target, std::uint64_t limit);
  void serve_turns();
  static Totals totals(const Accounts& accounts);

  const Limits limits_;
  std::map<std::uint64_t, Accounts> children_;  // by channel
  std::deque<std::pair<std::uint64_t, std::size_t>> waiting_;
  std::set<std::uint64_t> due_;  // channels with new totals that were not told yet
  std::uint64_t owed_ = 0;
  bool full_ = false;
};

}  // namespace postern::relay
