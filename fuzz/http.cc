// HTTP/1.1 as anybody may send it to the one port (rule C5): in any pieces.

#include <sys/socket.h>
#include <unistd.h>

#include "fuzz/target.h"
#include "net/http_connection.h"

namespace postern::fuzz {
namespace {

constexpr std::size_t kAnswersMax = 64;  // read back

/// Everything that comes back until the other side closes.
std::string read_all(int descriptor) {
  std::string all;
  char piece[4096];
  for (ssize_t n = 0; (n = ::recv(descriptor, piece, sizeof piece, MSG_DONTWAIT)) > 0;)
    all.append(piece, static_cast<std::size_t>(n));
  return all;
}

}  // namespace

void one_input(ByteView bytes) {
  static const SystemClock clock;
  if (bytes.size() > 60'000) return;  // what a socket takes at once
  Loop core("core", clock);
  int ends[2];
  claim(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0, "sockets");
  const Descriptor client(ends[0]);
  std::size_t requests = 0;
  HttpConnection::Origin origin{
      .loop = core,
      .core = core,
      .handler =
          [&](HttpRequest request, const Respond& respond) {
            ++requests;
            claim(request.body.size() <= kHttpBodyBytesMax, "no body above its limit");
            claim(request.target.size() <= kHttpHeaderBytesMax, "no header above its limit");
            for (const auto& [name, value] : request.headers)
              for (const char c : name) claim(c < 'A' || c > 'Z', "names in lower case");
            HttpResponse response;
            response.body = "ok";
            response.headers.emplace_back("X-Target", request.target);
            respond(std::move(response));
          },
      .address = "192.0.2.1:1",
      .loopback = false,
      .unix_peer = std::nullopt,
      .ticket = std::shared_ptr<void>(nullptr, [&](void*) { core.stop(); })};
  auto connection = std::make_shared<HttpConnection>(
      std::move(origin), std::make_unique<PlainStream>(Descriptor(ends[1])));
  connection->start();
  claim(::send(client.number(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(bytes.size()) ||
            bytes.empty(),
        "sent");
  ::shutdown(client.number(), SHUT_WR);
  core.run();  // ends with the connection
  connection.reset();
  const std::string answers = read_all(client.number());
  std::size_t seen = 0;
  for (std::size_t at = 0;
       seen < kAnswersMax && (at = answers.find("HTTP/1.1 ", at)) != answers.npos; ++at)
    ++seen;
  claim(seen >= std::min(requests, kAnswersMax), "every request is answered");
  claim(answers.empty() || answers.starts_with("HTTP/1.1 "), "an answer begins as one");
}

std::vector<Bytes> seeds() {
  const auto text = [](std::string_view t) { return to_bytes(t); };
  return {
      text("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"),
      text("GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nConnection: "
           "close\r\n\r\n"),
      text("POST /api HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
           "3\r\n\r\nabc"),
      text("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
      text("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
      text("GET / HTTP/1.0\r\n\r\n")};
}

}  // namespace postern::fuzz
