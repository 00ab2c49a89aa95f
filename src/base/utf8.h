#pragma once

#include <string>
#include <string_view>

namespace postern {

/// Protobuf strings must be UTF-8; names of files and disks need not be.
bool is_utf8(std::string_view text);
/// The text with every byte that is no part of a well-formed sequence replaced by U+FFFD.
std::string to_utf8(std::string_view text);

}  // namespace postern
