#include "sim/describe.h"

#include "wire/batch.h"
#include "wire/channel.pb.h"
#include "wire/coverage.h"
#include "wire/document.pb.h"

namespace postern::sim {
namespace {

std::string short_of(const wire::StreamKey& stream) {
  return fmt::format("{}/{}.{:04x}/{}", stream.node.hex().substr(0, 6), stream.epoch.ordinal,
                     stream.epoch.random & 0xffff, wire::to_string(stream.lane));
}

std::string short_of(const wire::Coverage& coverage) {
  std::string text = short_of(coverage.stream);
  for (const wire::Interval& interval : coverage.intervals)
    text += fmt::format(" {}-{}", interval.first, interval.last);
  return text + (coverage.intervals.empty() ? " nothing" : "");
}

template <typename Protobuf>
std::optional<Protobuf> parsed(ByteView bytes) {
  Protobuf value;
  if (!value.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return std::nullopt;
  return value;
}

std::string stream_of(const std::string& bytes) {
  Reader in(as_bytes(bytes));
  const auto stream = wire::StreamKey::read(in);
  return stream && !in.failed() ? short_of(*stream) : "no stream";
}

}  // namespace

std::string describe(const wire::Message& message) {
  const ByteView bytes = message.bytes();
  std::string text = wire::to_string(message.type);
  switch (message.type) {
    case wire::Type::batch: {
      const auto stamped = wire::read_stamped(bytes);
      const auto batch =
          stamped ? wire::read_batch(stamped->body) : std::unexpected(stamped.error());
      if (!batch) return text + " that cannot be read";
      return fmt::format("{} {} of {} (kind {})", text, batch->header.sequence,
                         short_of(batch->header.stream), static_cast<unsigned>(batch->header.kind));
    }
    case wire::Type::offer:
    case wire::Type::stored: {
      const auto list = wire::decode_coverages(bytes);
      if (!list) return text + " that cannot be read";
      for (const wire::Coverage& coverage : *list) text += " " + short_of(coverage) + ";";
      return text;
    }
    case wire::Type::settled: {
      const auto view = wire::read_settled(bytes);
      if (!view) return text + " that cannot be read";
      return fmt::format("{} (generation {}) {}", text, view->settled.generation,
                         short_of(view->settled.coverage));
    }
    case wire::Type::answer: {
      const auto answer = parsed<wire::pb::Answer>(bytes);
      if (!answer) return text + " that cannot be read";
      return fmt::format("{} {} to batch {} of {}{}: {}", text, answer->verdict(),
                         answer->sequence(), stream_of(answer->stream()),
                         answer->evidence().empty() ? "" : " with evidence", answer->words());
    }
    case wire::Type::notice: {
      const auto notice = parsed<wire::pb::Notice>(bytes);
      if (!notice) return text + " that cannot be read";
      return fmt::format("{} of {} {}-{}: {}", text, stream_of(notice->stream()), notice->first(),
                         notice->last(), notice->words());
    }
    case wire::Type::document: {
      const auto outer = parsed<wire::pb::Signed>(bytes);
      const auto body =
          outer ? parsed<wire::pb::DocumentBody>(as_bytes(outer->body())) : std::nullopt;
      if (!body) return text + " that cannot be read";
      return fmt::format("{} of type {} ({}, {})", text, body->type(), body->generation(),
                         body->number());
    }
    case wire::Type::request: {
      const auto request = parsed<wire::pb::Request>(bytes);
      return request ? fmt::format("{} of kind {}", text, request->kind()) : text;
    }
    default:
      return text;
  }
}

}  // namespace postern::sim
