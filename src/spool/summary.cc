#include "spool/summary.h"

#include "base/cursor.h"
#include "wire/batch.h"

namespace postern::spool {

static_assert(kSummaryFrontBytes == 1 + wire::kStampsMax * wire::kStampBytes + 108,
              "all stamps, and the header up to its count of records");

std::optional<Summary> summary_of(ByteView front, std::uint64_t sequence) {
  Reader in(front);
  const std::size_t stamps = in.u8();
  in.view(stamps * wire::kStampBytes);
  // The batch: magic, version, lane, kinds, node, epoch, then what is wanted (batch.md#B10).
  const ByteView magic = in.view(4);
  const std::uint8_t version = in.u8();
  in.view(3 + 16 + 16);
  const std::uint64_t numbered = in.u64();
  Summary summary;
  summary.previous = in.array<32>();
  summary.first_time = wall_from_ms(in.i64());
  summary.last_time = wall_from_ms(in.i64());
  in.i64();  // sealed
  summary.records = in.u32();
  if (in.failed() || as_text(magic) != "PSTB" || version != 1 || numbered != sequence)
    return std::nullopt;
  return summary;
}

}  // namespace postern::spool
