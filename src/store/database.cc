#include "store/database.h"

#include <algorithm>

namespace postern::store {

void Query::array(int column, std::span<std::byte> out) {
  const ByteView value = statement_->bytes(column);
  if (value.size() != out.size())
    throw Failure(Errc::corrupt, fmt::format("column {} has {} bytes instead of {}", column,
                                             value.size(), out.size()));
  std::ranges::copy(value, out.begin());
}

Digest Query::digest(int column) {
  Digest digest;
  array(column, digest);
  return digest;
}

}  // namespace postern::store
