#pragma once

#include <boost/json.hpp>
#include <string>

namespace postern::cli {

/// Indented by two blanks a level, members in their order, a newline at the end.
std::string to_json_text(const boost::json::value& value);

/// The same in YAML: block style, every text in double quotes, so that nothing changes its type.
std::string to_yaml_text(const boost::json::value& value);

}  // namespace postern::cli
