// spool.md, "Opening": a spool whose files were damaged anywhere, in any way.

#include "spool/spool.h"

#include <map>

#include "base/fake_disk.h"
#include "fuzz/target.h"
#include "spool/inspect.h"
#include "spool/test_spool.h"

namespace postern::fuzz {
namespace {

constexpr std::uint64_t kBatches = 12;
constexpr std::size_t kDamageMax = 16;  // changes in one input

/// The files of a spool with three segments, indexes and settled words, and what it promised.
struct Model {
  std::map<std::filesystem::path, Bytes> files;
  std::map<std::uint64_t, Bytes> batches;             // by sequence
  std::map<std::uint64_t, std::uint64_t> segment_of;  // likewise
};

Model make_model() {
  spool::Fixture fixture;
  fixture.options.segment_bytes = 4096;
  claim(fixture.open(), "an empty spool opens");
  Model model;
  for (std::uint64_t n = 1; n <= kBatches; ++n) {
    const spool::Spool::Append batch = spool::batch(n, 700);
    claim(fixture.append(batch).has_value(), "an append");
    model.batches[n] = *batch.message;
    fixture.spool->note_settled(spool::stream(), spool::settled_message(fmt::format("s{}", n)));
    while (fixture.spool->untidy()) fixture.spool->tidy();
  }
  fixture.spool.reset();
  claim(fixture.open() && fixture.entries.size() == kBatches, "it opens");
  for (const spool::Entry& entry : fixture.entries)
    model.segment_of[entry.sequence] = entry.location.segment;
  fixture.spool.reset();
  for (const std::string& name : fixture.files())
    model.files[spool::kFolder / name] = fixture.disk.contents(spool::kFolder / name);
  return model;
}

const Model& model() {
  static const Model made = make_model();  // the same for all inputs
  return made;
}

/// Each change: which file, what, where, how much.
std::map<std::filesystem::path, Bytes> damaged(Input& in) {
  auto files = model().files;
  for (std::size_t i = 0; i < kDamageMax && !in.empty(); ++i) {
    auto file = std::next(files.begin(), static_cast<std::ptrdiff_t>(in.below(files.size())));
    const std::uint8_t how = in.u8() % 5;
    const std::size_t at = in.below(std::max<std::size_t>(file->second.size(), 1));
    Bytes& bytes = file->second;
    if (how == 0 && !bytes.empty()) bytes[at] ^= std::byte{in.u8()};
    if (how == 1) bytes.resize(at);
    if (how == 2)
      std::ranges::fill(std::span(bytes).subspan(std::min(at, bytes.size())), std::byte{0});
    if (how == 3) {
      const ByteView piece = in.piece();
      for (std::size_t k = 0; k < piece.size() && at + k < bytes.size(); ++k)
        bytes[at + k] = piece[k];
    }
    if (how == 4 && files.size() > 1) files.erase(file);
  }
  return files;
}

/// Whatever became of the others: a segment that is as it was serves all it has.
void check_whole_segments(const std::map<std::filesystem::path, Bytes>& files,
                          std::span<const spool::Entry> entries) {
  for (const auto& [sequence, segment] : model().segment_of) {
    const auto path = spool::kFolder / fmt::format("{:016x}.log", segment);
    const auto file = files.find(path);
    if (file == files.end() || file->second != model().files.at(path)) continue;
    claim(std::ranges::count(entries, sequence, &spool::Entry::sequence) == 1,
          "damage costs nothing in a segment that has none (S23)");
  }
}

void check_entries(spool::Spool& opened, std::span<const spool::Entry> entries) {
  for (const spool::Entry& entry : entries) {
    const auto message = opened.read(entry.location);
    if (!message) {
      claim(message.error().code == Errc::corrupt, "what cannot be read is corrupt");
      continue;
    }
    const auto known = model().batches.find(entry.sequence);
    claim(known != model().batches.end() && known->second == *message,
          "what can be read is what was written");
  }
}

}  // namespace

void one_input(ByteView bytes) {
  Input in(bytes);
  const auto files = damaged(in);
  spool::Fixture fixture;
  fixture.options.segment_bytes = 4096;
  claim(fixture.disk.make_directories(spool::kFolder).has_value(), "a folder");
  for (const auto& [path, content] : files) fixture.disk.set_contents(path, content);

  if (auto inspected = spool::Inspection::of(fixture.disk, spool::kFolder)) {
    (void)inspected->list();
    (void)inspected->verify();
  }
  const bool opened = fixture.open();
  claim(opened || fixture.error.code == Errc::invalid, "only an unknown version keeps it shut");
  if (!opened) return;
  check_whole_segments(files, fixture.entries);
  if (files == model().files)
    claim(fixture.entries.size() == kBatches, "what is undamaged is all there");
  check_entries(*fixture.spool, fixture.entries);

  // It goes on, and what it takes now is there the next time.
  claim(fixture.append(spool::batch(99, 300)).has_value(), "a damaged spool takes batches");
  while (fixture.spool->untidy()) fixture.spool->tidy();
  fixture.spool.reset();
  claim(fixture.open(), "and opens again");
  const auto sequences = fixture.sequences();
  claim(std::ranges::count(sequences, 99u) == 1, "what was promised is there, once");
  for (const std::uint64_t n : sequences)
    claim(n == 99 || (n >= 1 && n <= kBatches), "nothing is made up");
}

std::vector<Bytes> seeds() {
  std::vector<Bytes> seeds{Bytes{}};
  for (std::uint8_t how = 0; how < 5; ++how) {
    Writer out;
    for (std::uint16_t file = 0; file < 3; ++file) {
      out.u16(file).u8(how).u16(static_cast<std::uint16_t>(150 + 900 * file));
      if (how == 0) out.u8(1);
      if (how == 3) put_piece(out, as_bytes("damage"));
    }
    seeds.push_back(out.take());
  }
  return seeds;
}

}  // namespace postern::fuzz
