#pragma once

#include <cstdint>
#include <span>

namespace postern {

/// The only door to chance.
class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<std::byte> out) = 0;
  std::uint64_t u64();
  /// Uniform enough for jitter: below `limit`, which must not be 0.
  std::uint64_t below(std::uint64_t limit) { return u64() % limit; }
};

/// The kernel's generator; aborts when it is not there, because nothing here works without it.
class SystemRandom final : public Random {
 public:
  void fill(std::span<std::byte> out) override;
};

/// The same numbers for the same seed, on every machine and compiler (splitmix64).
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  void fill(std::span<std::byte> out) override;

 private:
  std::uint64_t state_;
};

}  // namespace postern
