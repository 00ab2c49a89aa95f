#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern {

/// Small parts for reading what the kernel prints. Views live as long as `text`.
std::vector<std::string_view> split_lines(std::string_view text);   // without empty lines
std::vector<std::string_view> split_fields(std::string_view line);  // at blanks and tabs
std::string_view trim(std::string_view text);

/// The whole of `text` must be the number.
std::optional<std::uint64_t> to_unsigned(std::string_view text);
std::optional<double> to_double(std::string_view text);

/// A field of /proc/meminfo, in bytes: "MemTotal:  2048 kB".
std::optional<std::uint64_t> meminfo_bytes(std::string_view meminfo, std::string_view name);

}  // namespace postern
