// batch.md, "Coverage" and "Settled": the bodies of stored, offer and settled.

#include "wire/coverage.h"

#include <algorithm>

#include "fuzz/target.h"

namespace postern::fuzz {
namespace {

void check_coverage(const wire::Coverage& coverage) {
  claim(coverage.intervals.size() <= wire::kIntervalsMax, "no more intervals than the limit");
  std::uint64_t end = 0;
  for (const wire::Interval& interval : coverage.intervals) {
    claim(interval.first >= 1 && interval.last >= interval.first, "an interval runs forward");
    claim(end == 0 || interval.first - 1 > end, "intervals ascend and do not touch (B30)");
    end = interval.last;
  }
}

}  // namespace

void one_input(ByteView bytes) {
  if (auto list = wire::decode_coverages(bytes)) {
    claim(list->size() <= wire::kCoverageListMax, "no longer list than the limit");
    for (const wire::Coverage& coverage : *list) check_coverage(coverage);
    claim(std::ranges::equal(wire::encode_coverages(*list), bytes), "a list has one encoding");
    std::vector<wire::Coverage> again;
    for (const Bytes& body : wire::encode_coverage_messages(*list)) {
      claim(body.size() <= (256u << 10), "a list is cut into messages that may be sent (W11)");
      auto part = wire::decode_coverages(body);
      claim(part.has_value(), "every part of a list can be read");
      again.insert(again.end(), part->begin(), part->end());
    }
    claim(again == *list, "the parts are the list");
  }
  if (auto view = wire::read_settled(bytes)) {
    check_coverage(view->settled.coverage);
    Writer again;
    again.bytes(encode_signed_part(view->settled)).bytes(view->signature);
    claim(std::ranges::equal(again.written(), bytes), "a settled has one encoding");
    claim(view->signed_part.data() == bytes.data(), "what is verified is what came");
  }
}

std::vector<Bytes> seeds() {
  wire::Coverage coverage;
  coverage.stream.node.bytes.fill(std::byte{0xab});
  coverage.intervals = {{1, 4, {}}, {6, 6, {}}, {9, UINT64_MAX, {}}};
  wire::Coverage holes{{}, {}};
  for (std::uint64_t i = 0; i < wire::kIntervalsMax; ++i)
    holes.intervals.push_back({2 * i + 1, 2 * i + 1, {}});
  const std::vector<wire::Coverage> list{coverage, holes, {}};
  wire::Settled settled;
  settled.delegation = 1;
  settled.generation = 2;
  settled.coverage = coverage;
  Writer signed_one;
  signed_one.bytes(encode_signed_part(settled)).bytes(Signature{});
  return {wire::encode_coverages({}), wire::encode_coverages(std::span(&coverage, 1)),
          wire::encode_coverages(list), signed_one.take()};
}

}  // namespace postern::fuzz
