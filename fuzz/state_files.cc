// The small files of a node's state folder: epoch, head number, incarnation.

#include "base/crc32c.h"
#include "base/fake_disk.h"
#include "base/random.h"
#include "fuzz/target.h"
#include "node/head_numbers.h"
#include "node/origin_file.h"
#include "node/self.h"

namespace postern::fuzz {
namespace {

void check_epoch(ByteView bytes) {
  const auto file = node::decode_epoch_file(bytes);
  if (!file) return;
  claim(file->disputed.size() <= node::EpochFile::kDisputedMax, "within limits");
  for (const auto& disputed : file->disputed)
    for (const node::NumberSet& done : disputed.done) {
      std::uint64_t end = 0;
      for (const auto& range : done.ranges()) {
        claim(range.first <= range.last && (end == 0 || range.first > end), "ranges ascend");
        end = range.last;
      }
    }
  claim(node::decode_epoch_file(encode(*file)) == *file, "what we wrote can be read");
}

Bytes with_checksum(ByteView bytes) {
  Writer out;
  out.bytes(bytes).u32(crc32c(bytes));
  return out.take();
}

}  // namespace

void one_input(ByteView bytes) {
  check_epoch(bytes);
  check_epoch(with_checksum(bytes));

  FakeDisk disk;
  claim(disk.make_directories("state").has_value(), "a folder");
  disk.set_contents("state/head-number", to_bytes(bytes));
  claim(node::read_head_number(disk, "state").has_value(), "a damaged head number stops nobody");
  disk.set_contents("state/incarnation", to_bytes(bytes));
  SeededRandom random(1);
  const auto first = node::next_incarnation(disk, "state", random);
  if (!first) return;
  const auto second = node::next_incarnation(disk, "state", random);
  claim(second && second->second == first->first, "each life names the one before it");
}

std::vector<Bytes> seeds() {
  node::EpochFile file;
  file.epoch = {2, 9};
  file.disputed.push_back({{1, 7}, {1, 0, 5}, {}});
  file.disputed[0].done[0].add({3, 4});
  file.plans[1] = {4, {{{1, 7}, 9}}};
  const Bytes whole = encode(file);
  Bytes bare = whole;
  bare.resize(bare.size() - 4);
  return {whole, bare, Bytes(20, std::byte{1})};
}

}  // namespace postern::fuzz
