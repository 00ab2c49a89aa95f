#include "model/compression.h"

#include <zstd.h>

namespace postern {

Result<Bytes> compress(std::string_view raw, int level) {
  Bytes compressed(ZSTD_compressBound(raw.size()));
  const std::size_t size =
      ZSTD_compress(compressed.data(), compressed.size(), raw.data(), raw.size(), level);
  if (ZSTD_isError(size))
    return fail(Errc::unavailable, "compressing {} bytes: {}", raw.size(), ZSTD_getErrorName(size));
  compressed.resize(size);
  compressed.shrink_to_fit();
  return compressed;
}

Result<std::string> decompress(ByteView compressed, std::uint32_t raw_bytes) {
  const unsigned long long stated = ZSTD_getFrameContentSize(compressed.data(), compressed.size());
  if (stated == ZSTD_CONTENTSIZE_ERROR)
    return fail(Errc::invalid, "the payload ({} bytes) is no zstd frame", compressed.size());
  if (stated == ZSTD_CONTENTSIZE_UNKNOWN)
    return fail(Errc::invalid, "the payload's zstd frame does not state the size of its content");
  // Before the buffer is made: a few bytes must not be able to ask for the full limit in vain.
  if (stated != raw_bytes)
    return fail(Errc::invalid, "the payload's zstd frame states {} bytes, its header {}", stated,
                raw_bytes);
  const std::size_t frame = ZSTD_findFrameCompressedSize(compressed.data(), compressed.size());
  if (ZSTD_isError(frame))
    return fail(Errc::invalid, "the payload's zstd frame is broken: {}", ZSTD_getErrorName(frame));
  if (frame != compressed.size())
    return fail(Errc::invalid, "the payload has {} bytes after its zstd frame",
                compressed.size() - frame);

  std::string raw(raw_bytes, '\0');
  const std::size_t size =
      ZSTD_decompress(raw.data(), raw.size(), compressed.data(), compressed.size());
  if (ZSTD_isError(size))
    return fail(Errc::invalid, "the payload does not decompress: {}", ZSTD_getErrorName(size));
  if (size != raw_bytes)
    return fail(Errc::invalid, "the payload decompresses to {} bytes, its header says {}", size,
                raw_bytes);
  return raw;
}

}  // namespace postern
