#include "server/effects.h"

#include <boost/json.hpp>
#include <map>

#include "model/payload.h"

namespace postern {
namespace {

boost::json::value json_of(const AttributeValue& value) {
  return std::visit(
      [](const auto& v) -> boost::json::value {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          boost::json::array list;
          for (const std::string& text : v) list.emplace_back(text);
          return list;
        } else {
          return boost::json::value(v);
        }
      },
      value);
}

Result<store::Effects> metrics(const wire::BatchView& batch) {
  auto decoded = decode_metrics(batch.payload, batch.header.raw_bytes);
  if (!decoded) return std::unexpected(decoded.error());
  store::Effects effects;
  effects.values.reserve(decoded->measurements.size());
  for (const Measurement& m : decoded->measurements) {
    store::LatestValue value;
    value.metric = m.name;
    value.unit = m.unit;
    value.attributes = json_of(m.attributes);
    value.integer = std::holds_alternative<std::int64_t>(m.value);
    value.value = value.integer ? static_cast<double>(std::get<std::int64_t>(m.value))
                                : std::get<double>(m.value);
    value.time = m.time;
    effects.values.push_back(std::move(value));
  }
  return effects;
}

Result<store::Effects> entities(const wire::BatchView& batch) {
  // Events are archived whole and decoded when they are read; only the state lane has entities.
  if (batch.header.stream.lane != wire::Lane::state) return store::Effects{};
  auto decoded = decode_entity_states(batch.payload, batch.header.raw_bytes);
  if (!decoded) return std::unexpected(decoded.error());
  store::Effects effects;
  for (const EntityState& state : decoded->states)
    effects.entities.push_back(
        {state.type, json_of(state.id), json_of(state.attributes), decoded->time});
  return effects;
}

}  // namespace

std::string json_of(const std::vector<Attribute>& attributes) {
  std::map<std::string, const AttributeValue*> sorted;
  for (const Attribute& attribute : attributes) sorted[attribute.key] = &attribute.value;
  boost::json::object object;
  for (const auto& [key, value] : sorted) object[key] = json_of(*value);
  return boost::json::serialize(object);
}

Result<store::Effects> effects_of(const wire::BatchView& batch) {
  const bool zstd = batch.header.compression == wire::Compression::zstd;
  switch (batch.header.kind) {
    case wire::PayloadKind::metrics:
      if (!zstd) return fail(Errc::invalid, "metrics that are not compressed with zstd");
      return metrics(batch);
    case wire::PayloadKind::logs:
      if (!zstd) return fail(Errc::invalid, "logs that are not compressed with zstd");
      return entities(batch);
    case wire::PayloadKind::gap: {
      auto gap = wire::decode_gap(batch.payload);
      if (!gap) return std::unexpected(gap.error());
      if (gap->stream.node != batch.header.stream.node)
        return fail(Errc::invalid, "a gap in the streams of {} by the word of another node",
                    gap->stream.node.hex());
      if (batch.header.stream.lane != wire::Lane::state)
        return fail(Errc::invalid, "a gap outside of the state lane");
      store::Effects effects;
      effects.gap = *gap;
      return effects;
    }
    case wire::PayloadKind::epoch_opening: {
      auto opening = wire::decode_epoch_opening(batch.payload);
      if (!opening) return std::unexpected(opening.error());
      store::Effects effects;
      effects.opening = *opening;
      return effects;
    }
    case wire::PayloadKind::probe: {
      if (batch.payload.size() != wire::kProbeIdBytes)
        return fail(Errc::invalid, "a trace probe of {} bytes; it has {}", batch.payload.size(),
                    wire::kProbeIdBytes);
      if (batch.header.stream.lane != wire::Lane::state)
        return fail(Errc::invalid, "a trace probe outside of the state lane");
      store::Effects effects;
      effects.probe = to_bytes(batch.payload);
      return effects;
    }
    case wire::PayloadKind::sealed_again: {
      const auto first = wire::read_sealed_again(batch);
      if (!first) return std::unexpected(first.error());
      if (sha256(first->payload) != first->header.payload_hash)
        return fail(Errc::invalid, "batch {} of {} sealed again with another payload",
                    first->header.sequence, first->header.stream.text());
      auto effects = effects_of(*first);
      if (effects)
        effects->first_sealed = {first->header.stream, first->header.sequence,
                                 sha256(first->signed_part)};
      return effects;
    }
    case wire::PayloadKind::release: {
      auto release = wire::decode_release(batch.payload);
      if (!release) return std::unexpected(release.error());
      if (release->stream.node != batch.header.stream.node)
        return fail(Errc::invalid, "a release in the streams of {} by the word of another node",
                    release->stream.node.hex());
      if (batch.header.stream.lane != wire::Lane::state)
        return fail(Errc::invalid, "a release outside of the state lane");
      store::Effects effects;
      effects.release = *release;
      return effects;
    }
  }
  return fail(Errc::invalid, "payload kind {}; this version knows 1 to 7",
              static_cast<unsigned>(batch.header.kind));
}

}  // namespace postern
