#include "node/head_numbers.h"

#include "base/crc32c.h"
#include "base/cursor.h"

namespace postern::node {
namespace {

constexpr const char* kFile = "head-number";  // number u64, crc32c u32

}  // namespace

Result<std::uint64_t> read_head_number(Disk& disk, const std::filesystem::path& state) {
  auto there = disk.exists(state / kFile);
  if (!there) return std::unexpected(there.error());
  if (!*there) return 0;
  auto bytes = disk.read_file(state / kFile, 64);
  if (!bytes && bytes.error().code != Errc::invalid) return std::unexpected(bytes.error());
  if (!bytes) return 0;  // not what we wrote
  Reader in(*bytes);
  const std::uint64_t number = in.u64();
  const std::uint32_t crc = in.u32();
  // A damaged one costs little: heads count as old until the clock has caught up.
  return in.exhausted() && crc == crc32c(ByteView(*bytes).first(8)) ? number : 0;
}

Result<> write_head_number(Disk& disk, const std::filesystem::path& state, std::uint64_t promised) {
  Writer out;
  out.u64(promised);
  out.u32(crc32c(out.written()));
  return disk.write_file(state / kFile, out.written(), 0600);
}

}  // namespace postern::node
