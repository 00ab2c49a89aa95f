#pragma once

#include <array>
#include <concepts>
#include <cstring>

#include "base/bytes.h"

namespace postern {

/// Reads little-endian fields from untrusted bytes. Reading past the end yields zeros and sets
/// failed(), once and for good: a decoder reads all its fields and asks once at the end.
class Reader {
 public:
  explicit Reader(ByteView bytes) : rest_(bytes) {}

  template <std::integral T>
  T number() {
    std::array<std::byte, sizeof(T)> raw{};
    take_into(raw);
    std::make_unsigned_t<T> value = 0;
    for (std::size_t i = sizeof(T); i-- > 0;)
      value = static_cast<std::make_unsigned_t<T>>(
          (sizeof(T) > 1 ? value << (8 * (sizeof(T) > 1)) : 0) | std::to_integer<unsigned>(raw[i]));
    return static_cast<T>(value);
  }
  std::uint8_t u8() { return number<std::uint8_t>(); }
  std::uint16_t u16() { return number<std::uint16_t>(); }
  std::uint32_t u32() { return number<std::uint32_t>(); }
  std::uint64_t u64() { return number<std::uint64_t>(); }
  std::int64_t i64() { return number<std::int64_t>(); }

  template <std::size_t N>
  std::array<std::byte, N> array() {
    std::array<std::byte, N> value{};
    take_into(value);
    return value;
  }
  /// A view into the input; empty when fewer than `size` bytes are left.
  ByteView view(std::size_t size) {
    if (size > rest_.size()) {
      failed_ = true;
      rest_ = {};
      return {};
    }
    ByteView front = rest_.first(size);
    rest_ = rest_.subspan(size);
    return front;
  }

  std::size_t left() const { return rest_.size(); }
  bool failed() const { return failed_; }
  /// True when every field was there and nothing is left over.
  bool exhausted() const { return !failed_ && rest_.empty(); }

 private:
  void take_into(std::span<std::byte> out) {
    ByteView front = view(out.size());
    if (!front.empty()) std::memcpy(out.data(), front.data(), out.size());
  }

  ByteView rest_;
  bool failed_ = false;
};

/// Appends little-endian fields. The mirror of Reader.
class Writer {
 public:
  template <std::integral T>
  Writer& number(T value) {
    auto bits = static_cast<std::make_unsigned_t<T>>(value);
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      bytes_.push_back(static_cast<std::byte>(bits & 0xff));
      if constexpr (sizeof(T) > 1) bits = static_cast<std::make_unsigned_t<T>>(bits >> 8);
    }
    return *this;
  }
  Writer& u8(std::uint8_t v) { return number(v); }
  Writer& u16(std::uint16_t v) { return number(v); }
  Writer& u32(std::uint32_t v) { return number(v); }
  Writer& u64(std::uint64_t v) { return number(v); }
  Writer& i64(std::int64_t v) { return number(v); }
  Writer& bytes(ByteView v) {
    bytes_.insert(bytes_.end(), v.begin(), v.end());
    return *this;
  }

  std::size_t size() const { return bytes_.size(); }
  void reserve(std::size_t size) { bytes_.reserve(size); }
  ByteView written() const { return bytes_; }
  Bytes take() { return std::move(bytes_); }

 private:
  Bytes bytes_;
};

}  // namespace postern
