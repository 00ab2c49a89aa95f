#pragma once

// For net's own .cc files: the server's side of one HTTP/1.1 connection.

#include <memory>
#include <string>

#include "net/http.h"
#include "net/loop.h"
#include "net/stream.h"

namespace postern {

/// Reads requests one after the other, hands each to the core, writes its answer. Lives on one
/// loop. Every stage has its time (http.h); what takes longer is closed.
class HttpConnection final : public Loop::Watcher,
                             public std::enable_shared_from_this<HttpConnection> {
 public:
  struct Origin {
    Loop& loop;
    Loop& core;
    HttpHandler handler;  // called on the core
    std::string address;
    bool loopback = false;
    std::optional<UnixPeer> unix_peer;
    std::shared_ptr<void> ticket;  // let go when the connection ends; may be null
  };

  HttpConnection(Origin origin, std::unique_ptr<Stream> stream);
  ~HttpConnection() override;
  void start();
  void end();
  void on_ready(bool readable, bool writable) override;

 private:
  enum class State { reading, answering, writing, streaming, lingering };
  class Parser;  // keeps Beast out of this header
  class Streaming;
  struct Behind;

  void read_some();
  void parse();
  void reject(unsigned status, std::string words);
  void hand_over();
  void answer(HttpResponse response);
  void queue(std::string text);
  void write_some();
  void answered();
  void begin_stream(std::function<void(std::shared_ptr<HttpStream>)> go_on);
  void go_on(std::string text);
  void finish();
  void linger();
  void set_timer(Duration limit);

  Origin origin_;
  std::unique_ptr<Stream> stream_;  // null when ended
  State state_ = State::reading;
  std::unique_ptr<Parser> parser_;
  std::string in_, out_;
  bool keep_alive_ = true, head_ = false;
  std::size_t requests_ = 0;
  std::shared_ptr<Behind> behind_;  // while streaming
  bool finishing_ = false;          // the producer has let go
  Loop::Timer timer_;
};

/// A message as it goes over the wire. `reason` words by status.
std::string http_text(const HttpResponse& response, bool keep_alive, bool head);

}  // namespace postern
