#include "wire/stream.h"

namespace postern::wire {

const char* to_string(Lane lane) {
  switch (lane) {
    case Lane::state:
      return "state";
    case Lane::event:
      return "event";
    case Lane::metric:
      return "metric";
  }
  return "unknown";
}

void StreamKey::write(Writer& out) const {
  out.bytes(node.bytes).u32(epoch.ordinal).u64(epoch.random).u8(static_cast<std::uint8_t>(lane));
}

Result<StreamKey> StreamKey::read(Reader& in) {
  StreamKey key;
  key.node.bytes = in.array<16>();
  key.epoch.ordinal = in.u32();
  key.epoch.random = in.u64();
  const std::uint8_t lane = in.u8();
  if (!is_lane(lane))
    return fail(Errc::invalid, "lane {} in a stream key; lanes are 1, 2, 3", lane);
  key.lane = static_cast<Lane>(lane);
  return key;
}

std::string StreamKey::text() const {
  return fmt::format("{}/{}/{}", node.hex(), epoch.ordinal, to_string(lane));
}

}  // namespace postern::wire
