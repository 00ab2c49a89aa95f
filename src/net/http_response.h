#pragma once

// For net's own .cc files and its fuzz target: what comes back over HTTP, from whomever we asked.

#include <memory>
#include <string>

#include "base/result.h"
#include "net/http.h"

namespace postern {

/// Reads one HTTP/1.1 response in pieces. It may come from somebody who is not verified: whatever
/// comes is a response within the limits, or an error. Chunks are refused; Postern sends none.
class HttpResponseReader {
 public:
  /// `is_head`: the answer to a HEAD request, which has no body.
  explicit HttpResponseReader(bool is_head);
  ~HttpResponseReader();

  /// True when the response is whole; what follows is not looked at.
  Result<bool> put(std::string_view bytes);
  /// The connection ended: true when that ends the response too.
  Result<> end();
  HttpResponse take();  // once, of a whole response

 private:
  class Parser;  // keeps Beast out of this header
  std::unique_ptr<Parser> parser_;
  std::string held_;  // not parsed yet
  bool any_ = false;
};

}  // namespace postern
