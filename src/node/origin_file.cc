#include "node/origin_file.h"

#include <algorithm>

#include "base/crc32c.h"
#include "base/cursor.h"
#include "base/invariant.h"

namespace postern::node {
namespace {

constexpr std::string_view kMagic = "PSTE";
constexpr std::uint8_t kVersion = 2;
constexpr std::size_t kVersion1Bytes = 24;

void write(Writer& out, const wire::Epoch& epoch) { out.u32(epoch.ordinal).u64(epoch.random); }
wire::Epoch read_epoch(Reader& in) {
  wire::Epoch epoch;
  epoch.ordinal = in.u32();
  epoch.random = in.u64();
  return epoch;
}

void read_disputed(Reader& in, EpochFile& file) {
  EpochFile::Disputed disputed;
  disputed.epoch = read_epoch(in);
  for (std::uint64_t& from : disputed.from) from = in.u64();
  for (NumberSet& done : disputed.done) {
    const std::uint16_t count = in.u16();
    for (std::uint16_t i = 0; i < count && !in.failed(); ++i) {
      const std::uint64_t first = in.u64();
      const std::uint64_t last = in.u64();
      if (first >= 1 && first <= last) done.add({first, last});
    }
  }
  file.disputed.push_back(std::move(disputed));
}

}  // namespace

void NumberSet::add(Range range) {
  // `first - 1` and not `last + 1`: numbers begin at 1 and may end at the highest there is.
  auto at = std::find_if(ranges_.begin(), ranges_.end(),
                         [&](const Range& r) { return r.last >= range.first - 1; });
  while (at != ranges_.end() && at->first - 1 <= range.last) {
    range = {std::min(range.first, at->first), std::max(range.last, at->last)};
    at = ranges_.erase(at);
  }
  ranges_.insert(at, range);
}

void NumberSet::remove(Range range) {
  std::vector<Range> left;
  for (const Range& r : ranges_) {
    if (r.last < range.first || r.first > range.last) {
      left.push_back(r);
      continue;
    }
    if (r.first < range.first) left.push_back({r.first, range.first - 1});
    if (r.last > range.last) left.push_back({range.last + 1, r.last});
  }
  ranges_ = std::move(left);
}

bool NumberSet::contains(std::uint64_t number) const {
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [number](const Range& r) { return number >= r.first && number <= r.last; });
}

std::vector<NumberSet::Range> NumberSet::missing(Range range) const {
  std::vector<Range> found;
  for (const Range& r : ranges_) {
    if (r.last < range.first) continue;
    if (r.first > range.last) break;
    if (r.first > range.first) found.push_back({range.first, r.first - 1});
    if (r.last >= range.last) return found;
    range.first = r.last + 1;
  }
  found.push_back(range);
  return found;
}

std::size_t EpochFile::Plan::made(std::uint64_t end_of_lane) const {
  if (end_of_lane <= base) return 0;
  return static_cast<std::size_t>(std::min<std::uint64_t>(end_of_lane - base, copies.size()));
}

const EpochFile::Disputed* EpochFile::find(const wire::Epoch& of) const {
  for (const Disputed& one : disputed)
    if (one.epoch == of) return &one;
  return nullptr;
}

EpochFile::Disputed* EpochFile::find(const wire::Epoch& of) {
  for (Disputed& one : disputed)
    if (one.epoch == of) return &one;
  return nullptr;
}

void EpochFile::done_up_to(const Copy& copy, wire::Lane lane) {
  Disputed* of = find(copy.epoch);
  if (of == nullptr) return;
  NumberSet& set = of->done[wire::index_of(lane)];
  std::uint64_t first = copy.sequence;
  for (const NumberSet::Range& range : set.ranges())
    if (range.last < copy.sequence) first = range.last + 1;
  set.add({first, copy.sequence});
}

void EpochFile::done(const Copy& copy, wire::Lane lane) {
  if (Disputed* of = find(copy.epoch))
    of->done[wire::index_of(lane)].add({copy.sequence, copy.sequence});
}

Bytes encode(const EpochFile& file) {
  Writer out;
  out.bytes(as_bytes(kMagic)).u8(kVersion);
  write(out, file.epoch);
  out.u64(file.damaged).u8(static_cast<std::uint8_t>(file.disputed.size()));
  for (const EpochFile::Disputed& disputed : file.disputed) {
    write(out, disputed.epoch);
    for (const std::uint64_t from : disputed.from) out.u64(from);
    for (const NumberSet& done : disputed.done) {
      invariant(done.ranges().size() <= EpochFile::kRangesMax, "numbers done are few ranges");
      out.u16(static_cast<std::uint16_t>(done.ranges().size()));
      for (const NumberSet::Range& range : done.ranges()) out.u64(range.first).u64(range.last);
    }
  }
  for (const EpochFile::Plan& plan : file.plans) {
    out.u64(plan.base).u16(static_cast<std::uint16_t>(plan.copies.size()));
    for (const EpochFile::Copy& copy : plan.copies) {
      write(out, copy.epoch);
      out.u64(copy.sequence);
    }
  }
  out.u32(crc32c(out.written()));
  return out.take();
}

std::optional<EpochFile> decode_epoch_file(ByteView bytes) {
  if (bytes.size() < kVersion1Bytes) return std::nullopt;
  Reader end(bytes.last(4));
  if (end.u32() != crc32c(bytes.first(bytes.size() - 4))) return std::nullopt;
  Reader in(bytes.first(bytes.size() - 4));
  EpochFile file;
  if (bytes.size() == kVersion1Bytes) {
    file.epoch = read_epoch(in);
    file.damaged = in.u64();
    return file;
  }
  if (as_text(in.view(4)) != kMagic || in.u8() != kVersion) return std::nullopt;
  file.epoch = read_epoch(in);
  file.damaged = in.u64();
  const std::uint8_t disputed = in.u8();
  if (disputed > EpochFile::kDisputedMax) return std::nullopt;
  for (std::uint8_t i = 0; i < disputed; ++i) read_disputed(in, file);
  for (EpochFile::Plan& plan : file.plans) {
    plan.base = in.u64();
    const std::uint16_t count = in.u16();
    if (count > EpochFile::kCopiesMax) return std::nullopt;
    for (std::uint16_t i = 0; i < count; ++i) {
      EpochFile::Copy copy;
      copy.epoch = read_epoch(in);
      copy.sequence = in.u64();
      plan.copies.push_back(copy);
    }
  }
  if (!in.exhausted()) return std::nullopt;
  return file;
}

}  // namespace postern::node
