#pragma once

#include <fmt/format.h>

#include <expected>
#include <string>
#include <utility>

namespace postern {

/// What the caller does with an error, not what went wrong: the message says that.
enum class Errc {
  invalid,      // drop the input and count it
  denied,       // close: the peer or user may not do this
  unavailable,  // try again later
  exhausted,    // a limit is reached: push back
  corrupt,      // quarantine what was read
};

const char* to_string(Errc code);

/// `message` names the thing, the value, the limit and the way out; it is written for an operator.
struct Error {
  Errc code = Errc::invalid;
  std::string message;
  bool operator==(const Error&) const = default;
};

template <typename T = void>
using Result = std::expected<T, Error>;

/// return fail(Errc::invalid, "{}:{}: spool.bytes_max is {}, must be at least {}", ...);
template <typename... Args>
std::unexpected<Error> fail(Errc code, fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

/// The same error with what was being done in front: "opening the spool: ...".
inline std::unexpected<Error> fail(const Error& cause, const std::string& while_doing) {
  return std::unexpected(Error{cause.code, while_doing + ": " + cause.message});
}

}  // namespace postern
