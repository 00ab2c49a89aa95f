#include "relay/credit.h"

#include <algorithm>

namespace postern::relay {

std::uint64_t CreditBook::beyond_floor(const Account& account, std::size_t lane) {
  const std::uint64_t open = account.open(), floor = floor_of(lane);
  return open > floor ? open - floor : 0;
}

/// What a child may be owed on this lane now.
std::uint64_t CreditBook::window(std::size_t lane) const {
  const std::uint64_t lanes = 3 * std::max<std::uint64_t>(children_.size(), 1);
  const std::uint64_t fair =
      full_ ? 0 : std::min(limits_.window_bytes_max, limits_.granted_bytes_max / 2 / lanes);
  return floor_of(lane) + fair;
}

/// What a child begins with. Together, however many come one after the other, these leave something
/// for those that use what they get.
std::uint64_t CreditBook::first_window(std::size_t lane) const {
  if (floor_of(lane) > 0) return floor_of(lane);
  const std::uint64_t share = limits_.granted_bytes_max / 32 / children_.size();
  return std::min(window(lane), std::max(share, limits_.first_bytes_min));
}

/// Grants up to `target` owed bytes, as far as the sum over all children stays below `limit`.
bool CreditBook::raise(Account& account, std::size_t lane, std::uint64_t target,
                       std::uint64_t limit) {
  if (account.open() >= target) return false;
  const std::uint64_t before = beyond_floor(account, lane);
  const std::uint64_t floor = floor_of(lane);
  const std::uint64_t room = limit > owed_ ? limit - owed_ : 0;
  const std::uint64_t wanted = target > floor ? target - floor : 0;
  const std::uint64_t beyond = std::max(before, std::min(wanted, before + room));
  const std::uint64_t open = std::max(account.open(), floor + beyond);
  if (open == account.open()) return false;
  account.granted = account.taken + open;
  owed_ += beyond_floor(account, lane) - before;
  return true;
}

CreditBook::Totals CreditBook::totals(const Accounts& accounts) {
  return {accounts[0].granted, accounts[1].granted, accounts[2].granted};
}

CreditBook::Totals CreditBook::on_child(std::uint64_t channel) {
  gone(channel);
  Accounts& accounts = children_[channel];
  for (std::size_t lane = 0; lane < accounts.size(); ++lane)
    raise(accounts[lane], lane, first_window(lane), limits_.granted_bytes_max / 2);
  return totals(accounts);
}

void CreditBook::gone(std::uint64_t channel) {
  const auto found = children_.find(channel);
  if (found == children_.end()) return;
  for (std::size_t lane = 0; lane < 3; ++lane) owed_ -= beyond_floor(found->second[lane], lane);
  children_.erase(found);
  due_.erase(channel);
  std::erase_if(waiting_, [&](const auto& entry) { return entry.first == channel; });
  serve_turns();
}

bool CreditBook::on_received(std::uint64_t channel, wire::Lane lane, std::uint64_t bytes) {
  const auto found = children_.find(channel);
  if (found == children_.end()) return false;
  Account& account = found->second[wire::index_of(lane)];
  if (bytes > account.granted - account.received) return false;
  account.received += bytes;
  return true;
}

std::optional<CreditBook::Totals> CreditBook::on_taken(std::uint64_t channel, wire::Lane lane,
                                                       std::uint64_t bytes) {
  const auto found = children_.find(channel);
  if (found == children_.end()) return std::nullopt;
  const std::size_t index = wire::index_of(lane);
  Account& account = found->second[index];
  const std::uint64_t before = beyond_floor(account, index);
  account.taken += std::min(bytes, account.received - account.taken);
  owed_ -= before - beyond_floor(account, index);

  const std::uint64_t target = window(index);
  const bool worth = account.open() < floor_of(index) || account.open() + target / 4 <= target;
  const bool raised = worth && raise(account, index, target, limits_.granted_bytes_max / 2);
  // Whoever used a whole batch in its turn has probably more of them.
  if (account.in_turn && account.open() <= target) {
    account.in_turn = false;
    wants(channel, lane);
  } else {
    serve_turns();
  }
  const bool due = due_.erase(channel) > 0;
  return raised || due ? std::optional(totals(found->second)) : std::nullopt;
}

void CreditBook::wants(std::uint64_t channel, wire::Lane lane) {
  const auto found = children_.find(channel);
  if (found == children_.end()) return;
  const std::size_t index = wire::index_of(lane);
  Account& account = found->second[index];
  if (!account.waits && !account.in_turn && account.open() < wire::kBatchMessageBytesMax) {
    account.waits = true;
    waiting_.emplace_back(channel, index);
  }
  serve_turns();
}

void CreditBook::serve_turns() {
  while (!full_ && !waiting_.empty()) {
    const auto [channel, lane] = waiting_.front();
    Account& account = children_.at(channel)[lane];
    const std::uint64_t missing =
        wire::kBatchMessageBytesMax - std::min(account.open(), wire::kBatchMessageBytesMax);
    if (owed_ + missing > limits_.granted_bytes_max) return;
    account.waits = false;
    account.in_turn = true;
    waiting_.pop_front();
    if (raise(account, lane, wire::kBatchMessageBytesMax, limits_.granted_bytes_max))
      due_.insert(channel);
  }
}

void CreditBook::set_full(bool full) {
  if (full == full_) return;
  full_ = full;
  if (full_) return;
  for (auto& [channel, accounts] : children_)
    for (std::size_t lane = 0; lane < accounts.size(); ++lane)
      if (raise(accounts[lane], lane, window(lane), limits_.granted_bytes_max / 2))
        due_.insert(channel);
  serve_turns();
}

std::vector<CreditBook::Grant> CreditBook::take_grants() {
  std::vector<Grant> grants;
  for (const std::uint64_t channel : std::exchange(due_, {}))
    grants.push_back({channel, totals(children_.at(channel))});
  return grants;
}

}  // namespace postern::relay
