// HTTP/1.1 as it may come back from somebody whom `setup` asks and nobody has verified: in any
// pieces. The first byte says where it is cut.

#include "fuzz/target.h"
#include "net/http_response.h"

namespace postern::fuzz {

void one_input(ByteView bytes) {
  if (bytes.empty()) return;
  const std::string_view text = as_text(bytes.subspan(1));
  const std::size_t cut =
      std::min(text.size(), std::to_integer<std::size_t>(bytes[0]) * text.size() / 256);
  HttpResponseReader reader(false);
  for (const std::string_view piece : {text.substr(0, cut), text.substr(cut)}) {
    const auto whole = reader.put(piece);
    if (!whole) return;
    if (!*whole) continue;
    const HttpResponse response = reader.take();
    claim(response.status <= 999, "a status of three digits");
    claim(response.body.size() <= text.size(), "no body out of nothing");
    return;
  }
  if (!reader.end()) return;
  claim(reader.take().body.size() <= text.size(), "no body out of nothing");
}

std::vector<Bytes> seeds() {
  const auto text = [](std::string_view t) { return to_bytes(t); };
  return {text("\x80HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
          text("\x20HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nConnection: close\r\n\r\nlater"),
          text("\xc0HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
          text("\x10HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")};
}

}  // namespace postern::fuzz
