#include "events/state_file.h"

#include "base/crc32c.h"
#include "base/cursor.h"
#include "base/invariant.h"
#include "events/source.h"

namespace postern::events {
namespace {

constexpr std::string_view kMagic = "PSTE";
constexpr std::uint8_t kVersion = 1;

void write(Writer& out, const Positions& positions) {
  invariant(positions.size() <= StateFile::kSourcesMax, "sources are few");
  out.u16(static_cast<std::uint16_t>(positions.size()));
  for (const auto& [name, position] : positions) {
    invariant(name.size() <= StateFile::kNameBytesMax && position.size() <= kPositionBytesMax,
              "names and positions are short");
    out.u16(static_cast<std::uint16_t>(name.size())).bytes(as_bytes(name));
    out.u16(static_cast<std::uint16_t>(position.size())).bytes(as_bytes(position));
  }
}

Positions read_positions(Reader& in) {
  Positions positions;
  const std::uint16_t count = in.u16();
  for (std::uint16_t i = 0; i < count && !in.failed(); ++i) {
    std::string name = to_string(in.view(in.u16()));
    positions[std::move(name)] = to_string(in.view(in.u16()));
  }
  return positions;
}

bool within_limits(const Positions& positions) {
  if (positions.size() > StateFile::kSourcesMax) return false;
  for (const auto& [name, position] : positions)
    if (name.size() > StateFile::kNameBytesMax || position.size() > kPositionBytesMax) return false;
  return true;
}

}  // namespace

void StateFile::resolve(bool sealed) {
  if (sealed && intent)
    for (const auto& [name, position] : intent->moved) positions[name] = position;
  intent.reset();
}

Bytes encode(const StateFile& file) {
  Writer out;
  out.bytes(as_bytes(kMagic)).u8(kVersion);
  write(out, file.positions);
  out.u8(file.intent ? 1 : 0);
  if (file.intent) {
    const BatchNumber& batch = file.intent->batch;
    out.u32(batch.epoch_ordinal).u64(batch.epoch_random).u64(batch.sequence);
    write(out, file.intent->moved);
  }
  out.u32(crc32c(out.written()));
  return out.take();
}

Result<StateFile> decode_state_file(ByteView bytes) {
  const auto damaged = [] { return fail(Errc::corrupt, "the state of the events is damaged"); };
  if (bytes.size() < 4) return damaged();
  Reader end(bytes.last(4));
  if (end.u32() != crc32c(bytes.first(bytes.size() - 4))) return damaged();
  Reader in(bytes.first(bytes.size() - 4));
  if (as_text(in.view(4)) != kMagic || in.u8() != kVersion) return damaged();
  StateFile file;
  file.positions = read_positions(in);
  if (in.u8() != 0) {
    StateFile::Intent intent;
    intent.batch.epoch_ordinal = in.u32();
    intent.batch.epoch_random = in.u64();
    intent.batch.sequence = in.u64();
    intent.moved = read_positions(in);
    if (!within_limits(intent.moved)) return damaged();
    file.intent = std::move(intent);
  }
  if (!in.exhausted() || !within_limits(file.positions)) return damaged();
  return file;
}

Result<std::optional<StateFile>> read_state_file(Disk& disk, const std::filesystem::path& path) {
  auto there = disk.exists(path);
  if (!there) return std::unexpected(there.error());
  if (!*there) return std::nullopt;
  auto bytes = disk.read_file(path, StateFile::kBytesMax);
  if (!bytes) return std::unexpected(bytes.error());
  auto file = decode_state_file(*bytes);
  if (!file) return fail(file.error(), path.string());
  return std::move(*file);
}

std::filesystem::path state_file(const std::filesystem::path& state) { return state / "events"; }

}  // namespace postern::events
