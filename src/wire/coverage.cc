#include "wire/coverage.h"

#include <algorithm>

namespace postern::wire {
namespace {

constexpr std::string_view kMagic = "PSTS";
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kMessageBytesMax = 200u << 10;  // well below kControlMessageMax
constexpr std::size_t kIntervalBytes = 48;

}  // namespace

void write_coverage(Writer& out, const Coverage& coverage) {
  coverage.stream.write(out);
  const std::size_t count = std::min(coverage.intervals.size(), kIntervalsMax);
  out.u16(static_cast<std::uint16_t>(count));
  for (std::size_t i = 0; i < count; ++i) {
    const Interval& interval = coverage.intervals[i];
    out.u64(interval.first).u64(interval.last).bytes(interval.hash);
  }
}

Result<Coverage> read_coverage(Reader& in) {
  auto stream = StreamKey::read(in);
  if (!stream) return std::unexpected(stream.error());
  Coverage coverage{*stream, {}};
  const std::uint16_t count = in.u16();
  if (count > kIntervalsMax)
    return fail(Errc::invalid, "{} intervals of {}; the limit is {}", count, stream->text(),
                kIntervalsMax);
  std::uint64_t end = 0;
  for (std::uint16_t i = 0; i < count; ++i) {
    Interval interval;
    interval.first = in.u64();
    interval.last = in.u64();
    interval.hash = in.array<32>();
    if (in.failed()) break;
    const bool ascends = interval.first > 0 && interval.last >= interval.first &&
                         (i == 0 || interval.first - 1 > end);
    if (!ascends)
      return fail(Errc::invalid, "interval {} to {} of {} does not ascend", interval.first,
                  interval.last, stream->text());
    end = interval.last;
    coverage.intervals.push_back(interval);
  }
  if (in.failed()) return fail(Errc::invalid, "a coverage of {} that ends early", stream->text());
  return coverage;
}

Bytes encode_coverages(std::span<const Coverage> list) {
  Writer out;
  out.u16(static_cast<std::uint16_t>(list.size()));
  for (const Coverage& coverage : list) write_coverage(out, coverage);
  return out.take();
}

std::vector<Bytes> encode_coverage_messages(std::span<const Coverage> list) {
  std::vector<Bytes> messages;
  while (!list.empty()) {
    std::size_t count = 0, bytes = 0;
    while (count < list.size() && count < kCoverageListMax && bytes < kMessageBytesMax) {
      const std::size_t intervals = std::min(list[count].intervals.size(), kIntervalsMax);
      bytes += StreamKey::kBytes + 2 + intervals * kIntervalBytes;
      ++count;
    }
    messages.push_back(encode_coverages(list.first(count)));
    list = list.subspan(count);
  }
  return messages;
}

Result<std::vector<Coverage>> decode_coverages(ByteView body) {
  Reader in(body);
  const std::uint16_t count = in.u16();
  if (count > kCoverageListMax)
    return fail(Errc::invalid, "a list of {} coverages; the limit is {}", count, kCoverageListMax);
  std::vector<Coverage> list;
  for (std::uint16_t i = 0; i < count; ++i) {
    auto coverage = read_coverage(in);
    if (!coverage) return std::unexpected(coverage.error());
    list.push_back(std::move(*coverage));
  }
  if (!in.exhausted())
    return fail(Errc::invalid, "a list of {} coverages in {} bytes", count, body.size());
  return list;
}

Bytes encode_signed_part(const Settled& settled) {
  Writer out;
  out.bytes(as_bytes(kMagic)).u8(kVersion).bytes(settled.group.bytes).bytes(settled.server.bytes);
  out.u64(settled.delegation).u32(settled.generation).i64(to_ms(settled.issued));
  write_coverage(out, settled.coverage);
  return out.take();
}

Result<SettledView> read_settled(ByteView body) {
  Reader in(body);
  if (as_text(in.view(4)) != kMagic) return fail(Errc::invalid, "a settled without its magic PSTS");
  const std::uint8_t version = in.u8();
  if (version != kVersion)
    return fail(Errc::invalid, "settled format version {}; this program reads version {}", version,
                kVersion);
  SettledView view;
  Settled& s = view.settled;
  s.group.bytes = in.array<16>();
  s.server.bytes = in.array<16>();
  s.delegation = in.u64();
  s.generation = in.u32();
  s.issued = wall_from_ms(in.i64());
  auto coverage = read_coverage(in);
  if (!coverage) return std::unexpected(coverage.error());
  s.coverage = std::move(*coverage);
  view.signature = in.array<64>();
  if (!in.exhausted()) return fail(Errc::invalid, "a settled of {} bytes", body.size());
  view.signed_part = body.first(body.size() - view.signature.size());
  return view;
}

}  // namespace postern::wire
