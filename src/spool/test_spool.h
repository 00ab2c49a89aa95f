#pragma once

#include <algorithm>
#include <set>

#include "base/fake_disk.h"
#include "spool/segment.h"
#include "spool/spool.h"

// For the tests of the spool's parts.
namespace postern::spool {

inline const std::filesystem::path kFolder = "state/spool";

inline wire::StreamKey stream(std::uint8_t node = 1, wire::Lane lane = wire::Lane::metric) {
  wire::StreamKey key;
  key.node.bytes.fill(std::byte{node});
  key.epoch = {1, 7};
  key.lane = lane;
  return key;
}

inline Spool::Append batch(std::uint64_t sequence, std::size_t bytes = 100,
                           wire::StreamKey key = stream()) {
  Spool::Append append{key, sequence, {}, nullptr};
  append.hash.fill(static_cast<std::byte>(sequence));
  append.message = std::make_shared<const Bytes>(bytes, static_cast<std::byte>(sequence));
  return append;
}

inline SharedBytes settled_message(std::string_view text) {
  return std::make_shared<const Bytes>(to_bytes(text));
}

/// A disk with a spool on it, and what the log said.
struct Fixture {
  explicit Fixture(std::uint64_t seed = 1) : disk(seed) {}

  bool open() {
    auto opened = Spool::open(disk, log, kFolder, options);
    if (!opened) {
      error = opened.error();
      return false;
    }
    spool = std::move(opened->spool);
    entries = std::move(opened->entries);
    settled = std::move(opened->settled);
    return true;
  }
  /// Ends the process without letting it write, and takes the power away too.
  void cut_power() {
    disk.fail_at(1, FakeDisk::Failing::from_then_on);
    spool.reset();
    disk.heal();
    disk.crash();
  }
  Result<std::vector<Location>> append(const Spool::Append& one) {
    return spool->append({&one, 1});
  }
  std::vector<std::uint64_t> sequences() const {
    std::vector<std::uint64_t> found;
    for (const Entry& entry : entries) found.push_back(entry.sequence);
    return found;
  }
  std::vector<std::string> files() { return *disk.list(kFolder); }
  std::filesystem::path segment(std::uint64_t number) const {
    return kFolder / fmt::format("{:016x}.log", number);
  }

  FakeDisk disk;
  std::vector<std::string> lines;
  Log log{Level::debug, [this](Level, std::string_view line) { lines.emplace_back(line); }};
  Options options;
  std::unique_ptr<Spool> spool;
  std::vector<Entry> entries;
  std::map<wire::StreamKey, SharedBytes> settled;
  Error error;
};

using Sequences = std::vector<std::uint64_t>;

}  // namespace postern::spool
