// batch.md: the records about batches - gap (B20), epoch opening (B24), release (B25).

#include <algorithm>

#include "fuzz/target.h"
#include "wire/batch.h"

namespace postern::fuzz {
namespace {

/// Every one of these formats is canonical: what can be read is what would have been written.
template <typename Record>
void check(const Result<Record>& record, ByteView bytes) {
  if (!record) {
    claim(record.error().code == Errc::invalid && !record.error().message.empty(),
          "a refusal has words");
    return;
  }
  claim(std::ranges::equal(encode(*record), bytes), "a record has one encoding");
}

}  // namespace

void one_input(ByteView bytes) {
  const auto gap = wire::decode_gap(bytes);
  check(gap, bytes);
  if (gap) {
    claim(gap->first >= 1 && gap->last >= gap->first, "a gap runs forward");
    claim(std::string_view(to_string(gap->reason)) != "unknown", "a gap has a known reason");
  }
  const auto release = wire::decode_release(bytes);
  check(release, bytes);
  if (release)
    claim(release->first >= 1 && release->last >= release->first, "a release runs forward");
  check(wire::decode_epoch_opening(bytes), bytes);
}

std::vector<Bytes> seeds() {
  wire::GapRecord gap;
  gap.first = 3;
  gap.last = 9;
  gap.records = 70;
  wire::ReleaseRecord release;
  release.first = release.last = 4;
  wire::EpochOpening opening;
  opening.previous = {2, 99};
  opening.lanes[1].sequence = 12;
  return {encode(gap), encode(release), encode(opening)};
}

}  // namespace postern::fuzz
