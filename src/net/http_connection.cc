#include "net/http_connection.h"

#include <algorithm>
#include <atomic>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cctype>

#include "base/bytes.h"
#include "net/http_date.h"

namespace postern {
namespace {

namespace beast_http = boost::beast::http;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool safe_in_header(const std::string& text) {
  return text.find_first_of("\r\n") == std::string::npos;
}

}  // namespace

std::optional<std::string_view> HttpRequest::header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers)
    if (name == lower_case_name) return value;
  return std::nullopt;
}

std::string http_text(const HttpResponse& response, bool keep_alive, bool head) {
  std::string text = fmt::format(
      "HTTP/1.1 {} {}\r\n", response.status,
      std::string_view(beast_http::obsolete_reason(beast_http::int_to_status(response.status))));
  const bool bodiless = response.status == 204 || response.status == 304;
  if (!bodiless) {
    if (!response.content_type.empty() && safe_in_header(response.content_type))
      text += fmt::format("Content-Type: {}\r\n", response.content_type);
    if (!response.go_on) text += fmt::format("Content-Length: {}\r\n", response.body.size());
  }
  for (const auto& [name, value] : response.headers)
    if (safe_in_header(name) && safe_in_header(value))
      text += fmt::format("{}: {}\r\n", name, value);
  text += keep_alive ? "\r\n" : "Connection: close\r\n\r\n";
  if (!head && !bodiless) text += response.body;
  return text;
}

/// What its two ends share; they are on different loops.
struct HttpConnection::Behind {
  std::atomic<std::size_t> bytes = 0;  // pushed and not in the kernel's hands
  std::atomic<bool> over = false;
};

/// The product's end of a response that goes on.
class HttpConnection::Streaming final : public HttpStream {
 public:
  Streaming(Loop& loop, std::weak_ptr<HttpConnection> connection, std::shared_ptr<Behind> behind)
      : loop_(loop), connection_(std::move(connection)), behind_(std::move(behind)) {}
  ~Streaming() override {
    loop_.post([weak = connection_, over = behind_->over.load()] {
      auto alive = weak.lock();
      if (!alive) return;
      if (over)
        alive->end();  // cut: what waits is not to be had any more
      else
        alive->finish();
    });
  }
  bool push(std::string text) override {
    if (behind_->over) return false;
    if (behind_->bytes.fetch_add(text.size()) + text.size() > kHttpStreamBehindMax) {
      behind_->over = true;
      return false;
    }
    loop_.post([weak = connection_, text = std::move(text)]() mutable {
      if (auto alive = weak.lock()) alive->go_on(std::move(text));
    });
    return true;
  }

 private:
  Loop& loop_;
  const std::weak_ptr<HttpConnection> connection_;
  const std::shared_ptr<Behind> behind_;
};

class HttpConnection::Parser {
 public:
  Parser() {
    parser_.header_limit(kHttpHeaderBytesMax);
    parser_.body_limit(kHttpBodyBytesMax);
  }
  /// How many bytes were used; 0 when more are needed first.
  std::size_t put(const std::string& bytes, boost::beast::error_code& error) {
    const std::size_t used =
        parser_.put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
    if (error == beast_http::error::need_more) error = {};
    return used;
  }
  bool done() const { return parser_.is_done(); }
  /// Asked before a byte of the body is looked at.
  bool has_chunks() {
    if (!parser_.is_header_done()) return false;
    parser_.eager(true);
    return parser_.chunked();
  }
  /// True once: the client waits for a word before it sends the body.
  bool wants_continue() {
    if (said_continue_ || !parser_.is_header_done() || parser_.is_done()) return false;
    said_continue_ = true;
    return lower(std::string(parser_.get()[beast_http::field::expect])) == "100-continue";
  }
  beast_http::request<beast_http::string_body> release() { return parser_.release(); }

 private:
  beast_http::request_parser<beast_http::string_body> parser_;
  bool said_continue_ = false;
};

HttpConnection::HttpConnection(Origin origin, std::unique_ptr<Stream> stream)
    : origin_(std::move(origin)), stream_(std::move(stream)) {}
HttpConnection::~HttpConnection() = default;

void HttpConnection::start() {
  origin_.loop.watch(stream_->descriptor(), true, false, shared_from_this());
  set_timer(kHttpIdleTimeMax);
  if (stream_->holds_unread()) read_some();
}

void HttpConnection::end() {
  if (!stream_) return;
  if (behind_) behind_->over = true;
  timer_.cancel();
  origin_.loop.unwatch(stream_->descriptor());
  stream_.reset();
  parser_.reset();
  origin_.ticket.reset();
}

void HttpConnection::set_timer(Duration limit) {
  timer_ = origin_.loop.after(limit, [weak = weak_from_this()] {
    if (auto alive = weak.lock()) alive->end();
  });
}

void HttpConnection::on_ready(bool readable, bool writable) {
  if (writable && stream_ && !out_.empty()) {
    const std::size_t before = out_.size();
    write_some();
    if (stream_ && behind_) behind_->bytes -= before - out_.size();
  }
  if (readable && stream_) read_some();
}

void HttpConnection::read_some() {
  // While a request is being answered nothing is read: the next one waits in the kernel, and so
  // does the client's hang-up.
  while (stream_ &&
         (state_ == State::reading || state_ == State::lingering || state_ == State::streaming)) {
    const IoOutcome outcome = stream_->read(origin_.loop.scratch());
    if (outcome.kind == IoOutcome::Kind::want_read || outcome.kind == IoOutcome::Kind::want_write)
      break;
    if (outcome.kind != IoOutcome::Kind::done) {
      end();
      return;
    }
    if (state_ != State::reading) continue;  // whatever it says now, nobody listens
    if (in_.empty() && !parser_) set_timer(kHttpRequestTimeMax);
    in_ += as_text(origin_.loop.scratch().first(outcome.bytes));
    parse();
  }
}

void HttpConnection::parse() {
  while (stream_ && state_ == State::reading && !in_.empty()) {
    if (!parser_) parser_ = std::make_unique<Parser>();
    boost::beast::error_code error;
    const std::size_t used = parser_->put(in_, error);
    in_.erase(0, used);
    if (error == beast_http::error::header_limit)
      return reject(
          431, fmt::format("the header of a request has at most {} bytes\n", kHttpHeaderBytesMax));
    if (error == beast_http::error::body_limit)
      return reject(413,
                    fmt::format("the body of a request has at most {} bytes\n", kHttpBodyBytesMax));
    if (error)
      return reject(400, fmt::format("this is no HTTP/1.1 request: {}\n", error.message()));
    // Beast aborts over a last chunk that comes in pieces, and nobody who asks us needs any.
    if (parser_->has_chunks())
      return reject(411, "a request with a body says its size (Content-Length), not chunks\n");
    if (parser_->done()) return hand_over();
    if (parser_->wants_continue()) queue("HTTP/1.1 100 Continue\r\n\r\n");
    if (used == 0) return;
  }
}

void HttpConnection::reject(unsigned status, std::string words) {
  keep_alive_ = false;
  HttpResponse response;
  response.status = status;
  response.body = std::move(words);
  state_ = State::answering;
  head_ = false;
  answer(std::move(response));
}

void HttpConnection::hand_over() {
  auto message = parser_->release();
  parser_.reset();
  HttpRequest request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  for (const auto& field : message)
    request.headers.emplace_back(lower(std::string(field.name_string())),
                                 std::string(field.value()));
  request.body = std::move(message.body());
  request.address = origin_.address;
  request.loopback = origin_.loopback;
  request.unix_peer = origin_.unix_peer;
  head_ = request.method == "HEAD";
  keep_alive_ = message.keep_alive() && ++requests_ < kHttpRequestsMax;
  state_ = State::answering;
  origin_.loop.rewatch(stream_->descriptor(), false, !out_.empty());
  set_timer(kHttpAnswerTimeMax);

  // Weak, and by number: an answer that comes too late, or twice, meets nobody.
  Respond respond = [weak = weak_from_this(), number = requests_,
                     &loop = origin_.loop](HttpResponse response) {
    loop.post([weak, number, response = std::move(response)]() mutable {
      auto alive = weak.lock();
      if (alive && alive->stream_ && alive->state_ == State::answering &&
          alive->requests_ == number)
        alive->answer(std::move(response));
    });
  };
  // The handler is copied: the task may run when the connection is gone.
  origin_.core.post([handler = origin_.handler, request = std::move(request),
                     respond = std::move(respond)]() mutable {
    handler(std::move(request), std::move(respond));
  });
}

void HttpConnection::answer(HttpResponse response) {
  state_ = State::writing;
  if (response.go_on && !head_) {
    keep_alive_ = false;
    behind_ = std::make_shared<Behind>();
    state_ = State::streaming;
  }
  response.headers.emplace_back("Date", http_date(origin_.loop.clock().wall()));
  queue(http_text(response, keep_alive_, head_));
  if (stream_ && state_ == State::streaming) begin_stream(std::move(response.go_on));
}

/// From here on only the client's hang-up is read.
void HttpConnection::begin_stream(std::function<void(std::shared_ptr<HttpStream>)> go_on) {
  auto product = std::make_shared<Streaming>(origin_.loop, weak_from_this(), behind_);
  origin_.core.post([go_on = std::move(go_on), product = std::move(product)]() mutable {
    go_on(std::move(product));
  });
  read_some();
}

/// Everything that was pushed goes out first.
void HttpConnection::finish() {
  finishing_ = true;
  if (stream_ && out_.empty()) linger();
}

void HttpConnection::go_on(std::string text) {
  if (!stream_) return;
  const std::size_t before = out_.size() + text.size();
  queue(std::move(text));
  if (stream_) behind_->bytes -= before - out_.size();
}

void HttpConnection::queue(std::string text) {
  out_ += text;
  write_some();
}

void HttpConnection::write_some() {
  const bool reads = state_ == State::reading || state_ == State::streaming;
  std::size_t written = 0;
  while (written < out_.size()) {
    const IoOutcome outcome = stream_->write(as_bytes(std::string_view(out_).substr(written)));
    if (outcome.kind == IoOutcome::Kind::done) {
      written += outcome.bytes;
      continue;
    }
    if (outcome.kind == IoOutcome::Kind::want_read || outcome.kind == IoOutcome::Kind::want_write) {
      out_.erase(0, written);
      origin_.loop.rewatch(stream_->descriptor(), reads, true);
      if (state_ == State::streaming && (written > 0 || !timer_.running()))
        set_timer(kHttpAnswerTimeMax);  // for the client to take something
      return;
    }
    end();
    return;
  }
  std::string().swap(out_);
  if (state_ == State::writing) return answered();
  if (state_ == State::streaming) timer_.cancel();
  if (finishing_) return linger();
  origin_.loop.rewatch(stream_->descriptor(), reads, false);
}

void HttpConnection::answered() {
  if (!keep_alive_) return linger();
  state_ = State::reading;
  origin_.loop.rewatch(stream_->descriptor(), true, false);
  set_timer(in_.empty() ? kHttpIdleTimeMax : kHttpRequestTimeMax);
  // Later, not here: a client that pipelines must not make us recurse, nor keep the others waiting.
  if (!in_.empty() || stream_->holds_unread())
    origin_.loop.post([self = shared_from_this()] {
      self->parse();
      if (self->stream_) self->read_some();
    });
}

void HttpConnection::linger() {
  state_ = State::lingering;
  in_.clear();
  stream_->end_writing();
  origin_.loop.rewatch(stream_->descriptor(), true, false);
  set_timer(std::chrono::seconds(2));
}

}  // namespace postern
