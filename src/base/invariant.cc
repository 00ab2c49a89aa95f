#include "base/invariant.h"

#include <cstdio>
#include <cstdlib>

namespace postern {

void invariant_failed(const char* what, std::source_location where) {
  std::fprintf(stderr, "postern: invariant broken: %s (%s:%u, %s)\n", what, where.file_name(),
               where.line(), where.function_name());
  std::abort();
}

}  // namespace postern
