#include "net/http_response.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

namespace postern {

namespace beast_http = boost::beast::http;

class HttpResponseReader::Parser : public beast_http::response_parser<beast_http::string_body> {};

HttpResponseReader::HttpResponseReader(bool is_head) : parser_(std::make_unique<Parser>()) {
  parser_->header_limit(kHttpResponseHeaderBytesMax);
  parser_->body_limit(kHttpResponseBytesMax);
  if (is_head) parser_->skip(true);
}

HttpResponseReader::~HttpResponseReader() = default;

Result<bool> HttpResponseReader::put(std::string_view bytes) {
  any_ = any_ || !bytes.empty();
  held_ += bytes;
  while (!held_.empty() && !parser_->is_done()) {
    boost::beast::error_code error;
    const std::size_t used =
        parser_->put(boost::asio::const_buffer(held_.data(), held_.size()), error);
    if (error == beast_http::error::need_more) error = {};
    if (error) return fail(Errc::invalid, "{}", error.message());
    held_.erase(0, used);
    if (parser_->is_header_done() && parser_->chunked())
      return fail(Errc::invalid, "an answer in chunks");
    if (parser_->is_header_done()) parser_->eager(true);
    if (used == 0) break;
  }
  return parser_->is_done();
}

Result<> HttpResponseReader::end() {
  if (!any_) return fail(Errc::unavailable, "the connection ended before an answer");
  boost::beast::error_code error;
  if (!parser_->is_done()) parser_->put_eof(error);
  if (error || !parser_->is_done())
    return fail(Errc::unavailable, "the connection ended within the answer");
  return {};
}

HttpResponse HttpResponseReader::take() {
  auto message = parser_->release();
  HttpResponse response;
  response.status = message.result_int();
  response.content_type = std::string(message[beast_http::field::content_type]);
  for (const auto& field : message)
    response.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  response.body = std::move(message.body());
  return response;
}

}  // namespace postern
