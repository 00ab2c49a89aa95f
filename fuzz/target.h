#pragma once

// What every fuzz target has: one function that is given bytes and claims what must hold, one that
// makes the inputs to begin with. The rest is entry.cc's (docs/fuzzing.md).

#include <cstdint>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

#include "base/cursor.h"
#include "base/invariant.h"

namespace postern::fuzz {

/// Judges one input; whatever it is, every claim() in it must hold. The same input always does the
/// same: nothing is remembered from one call to the next but what is the same for all.
void one_input(ByteView bytes);

/// Inputs that get past the first checks, made by the product's own encoders where there are any,
/// so that they never go stale.
std::vector<Bytes> seeds();

/// Ends the program, which is how libFuzzer notices, when a promise does not hold.
inline void claim(bool holds, const char* promise,
                  std::source_location where = std::source_location::current()) {
  invariant(holds, promise, where);
}

/// Takes an input apart; what is not there any more reads as zeros and nothing.
class Input {
 public:
  explicit Input(ByteView bytes) : in_(bytes) {}
  bool empty() const { return in_.left() == 0; }
  template <std::integral T>
  T number() {
    return in_.number<T>();
  }
  std::uint8_t u8() { return in_.u8(); }
  /// 0 to limit - 1.
  std::size_t below(std::size_t limit) { return in_.u16() % limit; }
  /// A length of two bytes, then as many, or what is left.
  ByteView piece() {
    const std::size_t size = in_.left() < 2 ? 0 : in_.u16();
    return in_.view(std::min(size, in_.left()));
  }
  ByteView rest() { return in_.view(in_.left()); }

 private:
  Reader in_;
};

/// The mirror of Input::piece(), for seeds.
inline void put_piece(Writer& out, ByteView bytes) {
  out.u16(static_cast<std::uint16_t>(bytes.size())).bytes(bytes);
}

}  // namespace postern::fuzz
