#pragma once

#include <source_location>

namespace postern {

/// A broken assumption about our own state: prints where and what, and aborts, in release too.
/// Never for input: what a peer, a file or a user hands in becomes an Error. Aborting is safe
/// because nothing is acknowledged before it is on disk.
[[noreturn]] void invariant_failed(const char* what, std::source_location where);

inline void invariant(bool holds, const char* what,
                      std::source_location where = std::source_location::current()) {
  if (!holds) [[unlikely]]
    invariant_failed(what, where);
}

}  // namespace postern
