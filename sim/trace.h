#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace postern::sim {

/// What happened in a run: a digest over all of it, and, only when somebody wants to read it,
/// lines.
///
/// The digest takes numbers that do not depend on machine or compiler. Lines cost much more than
/// the run itself, so a run that fails is run again with them.
class Trace {
 public:
  enum class Wanted { digest, last_lines, all_lines };
  explicit Trace(Wanted wanted) : wanted_(wanted) {}

  void note(std::uint64_t what, std::uint64_t a = 0, std::uint64_t b = 0) {
    digest_ = mixed(mixed(mixed(digest_ ^ what) ^ a) ^ b);
  }
  std::uint64_t digest() const { return digest_; }

  bool wants_lines() const { return wanted_ != Wanted::digest; }
  /// Only when wants_lines().
  void line(TimePoint when, std::string_view who, std::string_view what);
  void print() const;
  /// When the process aborts, this one is printed. One at a time.
  static void print_at_abort(const Trace* trace);

  static constexpr std::size_t kLastLinesMax = 400;

 private:
  static std::uint64_t mixed(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }

  Wanted wanted_;
  std::uint64_t digest_ = 0;
  std::deque<std::string> lines_;
};

/// What a long run must have reached at least once, or it proves less than it says.
std::span<const std::string_view> must_be_reached();

/// How often something rare was reached, by name. Names are literals.
class Coverage {
 public:
  void count(std::string_view name, std::uint64_t by = 1) { counts_[name] += by; }
  const std::map<std::string_view, std::uint64_t>& counts() const { return counts_; }

 private:
  std::map<std::string_view, std::uint64_t> counts_;
};

}  // namespace postern::sim
