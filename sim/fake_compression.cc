// The simulator links this in place of model/compression.cc: zstd frames that hold their content as
// it is (RFC 8878, raw blocks), because a context of zstd costs more than all the rest of a batch.

#include <array>

#include "base/cursor.h"
#include "model/compression.h"

namespace postern {
namespace {

constexpr std::uint32_t kMagic = 0xfd2fb528;
constexpr std::uint8_t kOneSegmentSizeInFourBytes = 0xa0;
constexpr std::size_t kHeaderBytes = 4 + 1 + 4 + 3;
constexpr std::size_t kBlockBytesMax = 128u << 10;
constexpr std::uint32_t kLastRawBlock = 1;

}  // namespace

Result<Bytes> compress(std::string_view raw, int) {
  if (raw.size() > kBlockBytesMax)
    return fail(Errc::exhausted, "{} bytes; the simulation compresses at most {}", raw.size(),
                kBlockBytesMax);
  const auto size = static_cast<std::uint32_t>(raw.size());
  const std::uint32_t block = size << 3 | kLastRawBlock;
  Writer out;
  out.reserve(kHeaderBytes + raw.size());
  out.u32(kMagic).u8(kOneSegmentSizeInFourBytes).u32(size);
  for (const int shift : {0, 8, 16}) out.u8(static_cast<std::uint8_t>(block >> shift));
  out.bytes(as_bytes(raw));
  return out.take();
}

Result<std::string> decompress(ByteView compressed, std::uint32_t raw_bytes) {
  Reader in(compressed);
  const bool ours = in.u32() == kMagic && in.u8() == kOneSegmentSizeInFourBytes;
  const std::uint32_t size = in.u32();
  std::uint32_t block = in.u8();
  block |= static_cast<std::uint32_t>(in.u8()) << 8;
  block |= static_cast<std::uint32_t>(in.u8()) << 16;
  const ByteView content = in.view(size);
  if (!ours || !in.exhausted() || block != (size << 3 | kLastRawBlock) || size != raw_bytes)
    return fail(Errc::invalid, "the payload ({} bytes) is no zstd frame of the simulation",
                compressed.size());
  return to_string(content);
}

}  // namespace postern
