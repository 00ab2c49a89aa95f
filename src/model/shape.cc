#include "model/shape.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <cstdint>

#include "base/utf8.h"
#include "model/payload.h"

namespace postern {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

/// What a length-delimited field holds. Only what model/otlp.proto lists: the rest protobuf keeps
/// as plain bytes.
enum class Node {
  opaque,
  text,
  any_value,
  array_value,
  key_value_list,
  key_value,
  scope,
  resource,
  metrics_request,
  resource_metrics,
  scope_metrics,
  metric,
  points,
  point,
  logs_request,
  resource_logs,
  scope_logs,
  log_record,
};

Node child(Node node, int field) {
  switch (node) {
    case Node::opaque:
    case Node::text:
      return Node::opaque;
    case Node::any_value:
      return field == 1   ? Node::text
             : field == 5 ? Node::array_value
             : field == 6 ? Node::key_value_list
                          : Node::opaque;
    case Node::array_value:
      return field == 1 ? Node::any_value : Node::opaque;
    case Node::key_value_list:
      return field == 1 ? Node::key_value : Node::opaque;
    case Node::key_value:
      return field == 1 ? Node::text : field == 2 ? Node::any_value : Node::opaque;
    case Node::scope:
      return field == 1 || field == 2 ? Node::text : field == 3 ? Node::key_value : Node::opaque;
    case Node::resource:
      return field == 1 ? Node::key_value : Node::opaque;
    case Node::metrics_request:
      return field == 1 ? Node::resource_metrics : Node::opaque;
    case Node::resource_metrics:
      return field == 1   ? Node::resource
             : field == 2 ? Node::scope_metrics
             : field == 3 ? Node::text
                          : Node::opaque;
    case Node::scope_metrics:
      return field == 1   ? Node::scope
             : field == 2 ? Node::metric
             : field == 3 ? Node::text
                          : Node::opaque;
    case Node::metric:
      return field >= 1 && field <= 3   ? Node::text
             : field == 5 || field == 7 ? Node::points
                                        : Node::opaque;
    case Node::points:
      return field == 1 ? Node::point : Node::opaque;
    case Node::point:
      return field == 7 ? Node::key_value : Node::opaque;
    case Node::logs_request:
      return field == 1 ? Node::resource_logs : Node::opaque;
    case Node::resource_logs:
      return field == 1   ? Node::resource
             : field == 2 ? Node::scope_logs
             : field == 3 ? Node::text
                          : Node::opaque;
    case Node::scope_logs:
      return field == 1   ? Node::scope
             : field == 2 ? Node::log_record
             : field == 3 ? Node::text
                          : Node::opaque;
    case Node::log_record:
      return field == 3 || field == 12 ? Node::text
             : field == 5              ? Node::any_value
             : field == 6              ? Node::key_value
                                       : Node::opaque;
  }
  return Node::opaque;
}

class Walk {
 public:
  explicit Walk(std::string_view raw)
      : raw_(raw),
        in_(reinterpret_cast<const std::uint8_t*>(raw.data()), static_cast<int>(raw.size())) {}

  Result<> message(Node node, int depth) {
    if (depth > kPayloadNestingMax)
      return fail(Errc::invalid, "the payload nests messages deeper than {}", kPayloadNestingMax);
    if (++messages_ > kPayloadMessagesMax)
      return fail(Errc::invalid, "the payload has more than {} protobuf messages",
                  kPayloadMessagesMax);
    while (in_.BytesUntilLimit() != 0) {
      const std::uint32_t tag = in_.ReadTag();
      if (tag == 0) {
        if (in_.BytesUntilLimit() <= 0 && in_.ConsumedEntireMessage()) return {};
        return broken();
      }
      if (auto read = field(node, tag, depth); !read) return read;
    }
    return {};
  }

 private:
  Result<> field(Node node, std::uint32_t tag, int depth) {
    const int number = WireFormatLite::GetTagFieldNumber(tag);
    const Node what =
        WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED
            ? child(node, number)
            : Node::opaque;
    if (what == Node::opaque) {
      if (number == 0 || !WireFormatLite::SkipField(&in_, tag)) return broken();
      return {};
    }
    std::uint32_t size = 0;
    if (!in_.ReadVarint32(&size)) return broken();
    const int left = in_.BytesUntilLimit() >= 0
                         ? in_.BytesUntilLimit()
                         : static_cast<int>(raw_.size()) - in_.CurrentPosition();
    if (size > static_cast<std::uint32_t>(left)) return broken();
    if (what == Node::text) return text(number, size);
    const auto outer = in_.PushLimit(static_cast<int>(size));
    if (auto inner = message(what, depth + 1); !inner) return inner;
    in_.PopLimit(outer);
    return {};
  }

  Result<> text(int number, std::uint32_t size) {
    const auto start = static_cast<std::size_t>(in_.CurrentPosition());
    if (!is_utf8(raw_.substr(start, size)))
      return fail(Errc::invalid, "the payload has a text at byte {} (field {}) that is no UTF-8",
                  start, number);
    if (!in_.Skip(static_cast<int>(size))) return broken();
    return {};
  }

  std::unexpected<Error> broken() {
    return fail(Errc::invalid, "the payload is no protobuf: broken at byte {} of {}",
                in_.CurrentPosition(), raw_.size());
  }

  std::string_view raw_;
  CodedInputStream in_;
  std::uint32_t messages_ = 0;
};

}  // namespace

Result<> check_shape(OtlpRequest request, std::string_view raw) {
  return Walk(raw).message(
      request == OtlpRequest::metrics ? Node::metrics_request : Node::logs_request, 1);
}

}  // namespace postern
