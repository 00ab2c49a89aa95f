// Not a format: a decoder with a defect, behind a magic number and a length, that the harness must
// find (tools/canaries).

#include "fuzz/target.h"

namespace postern::fuzz {

void one_input(ByteView bytes) {
  Reader in(bytes);
  if (in.u32() != 0x4e545350 || in.failed()) return;
  const std::uint8_t length = in.u8();
  claim(in.failed() || length <= in.left(), "a length is held against what is there");
}

std::vector<Bytes> seeds() { return {Bytes(8)}; }

}  // namespace postern::fuzz
