#include "base/random.h"

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include "base/invariant.h"

namespace postern {

std::uint64_t Random::u64() {
  std::array<std::byte, 8> raw{};
  fill(raw);
  std::uint64_t value = 0;
  for (std::byte b : raw) value = value << 8 | std::to_integer<std::uint64_t>(b);
  return value;
}

void SystemRandom::fill(std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t got = getrandom(out.data(), out.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    invariant(got > 0, "getrandom works");
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

void SeededRandom::fill(std::span<std::byte> out) {
  for (std::byte& b : out) {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t z = state_;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    b = static_cast<std::byte>((z ^ z >> 31) & 0xff);
  }
}

}  // namespace postern
