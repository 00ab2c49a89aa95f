#pragma once

#include <boost/json.hpp>
#include <expected>
#include <string>

#include "cli/options.h"
#include "cli/world.h"

namespace postern::cli {

inline constexpr const char* kServerVariable = "POSTERN_SERVER";
inline constexpr const char* kTokenFileVariable = "POSTERN_TOKEN_FILE";
inline constexpr const char* kGroupFileVariable = "POSTERN_GROUP_FILE";
inline constexpr std::size_t kTokenFileBytesMax = 1024;

/// Why the management server did not do what was asked.
struct Failure {
  int status = 0;       // HTTP; 0: there was no answer
  std::string type;     // "not-found", see api/service.h; of no answer: "unreachable", "no-right"
  std::string message;  // for the operator: what, why, and the way out
};

/// The management server's REST API, one request at a time.
class Client {
 public:
  /// `invalid` when the address (--server, else POSTERN_SERVER) is none, or when the token or the
  /// group file that it takes to ask there cannot be read.
  static Result<Client> open(const Options& options, World& world);

  /// A list comes whole: all its pages, joined.
  std::expected<boost::json::value, Failure> get(const std::string& target);
  std::expected<std::string, Failure> get_text(const std::string& target);
  std::expected<boost::json::value, Failure> post(const std::string& target,
                                                  const boost::json::object& body);
  std::expected<boost::json::value, Failure> post(const std::string& target);
  std::expected<boost::json::value, Failure> remove(const std::string& target);

 private:
  Client(ServerAddress address, std::string token, World& world)
      : address_(std::move(address)), token_(std::move(token)), world_(world) {}
  static Result<Client> open_https(std::string_view address, const Options& options, World& world);
  std::expected<std::string, Failure> ask(HttpRequest request);
  ServerAddress address_;
  std::string token_;  // "" on the Unix socket
  World& world_;
};

/// "%2F" for whatever cannot stand in one segment of a path.
std::string path_segment(std::string_view text);

}  // namespace postern::cli
