// channel.md, "Frames": FrameReader and FrameWriter.

#include <algorithm>

#include "fuzz/target.h"
#include "wire/frame.h"

namespace postern::fuzz {
namespace {

using wire::FrameReader;
using wire::FrameWriter;
using wire::Message;

bool same(const Message& a, const Message& b) {
  return a.type == b.type && a.lane == b.lane && a.critical == b.critical &&
         std::ranges::equal(a.bytes(), b.bytes());
}

struct Read {
  std::vector<Message> messages;
  std::string error;
  std::uint64_t skipped = 0;
  bool idle = false;
};

/// All of it, in pieces of at most `piece` bytes.
Read read(ByteView stream, std::size_t piece, bool raised) {
  FrameReader reader;
  if (raised) reader.raise_limit();
  Read read;
  while (!stream.empty() && read.error.empty()) {
    const ByteView part = stream.first(std::min(piece, stream.size()));
    stream = stream.subspan(part.size());
    if (auto fed = reader.feed(part); !fed) read.error = fed.error().message;
    while (auto message = reader.next()) read.messages.push_back(std::move(*message));
  }
  if (!read.error.empty()) claim(!reader.feed({}), "a reader that failed stays failed");
  read.skipped = reader.skipped();
  read.idle = reader.idle();
  return read;
}

void check_limits(const Message& message, bool raised) {
  const std::size_t max = !raised             ? wire::kFirstMessageMax
                          : message.lane == 0 ? wire::kControlMessageMax
                                              : wire::kBatchLaneMessageMax;
  claim(message.lane <= 3, "lanes are 0 to 3");
  claim(message.type >= wire::Type::hello && message.type <= wire::Type::presence, "a known type");
  claim(message.bytes().size() <= max, "no message above its limit (W11)");
}

/// What was read, cut into frames anew by lane order, reads as the same messages lane by lane.
void check_writer(const Read& whole) {
  FrameWriter writer;
  for (const Message& message : whole.messages) writer.queue(message);
  Bytes out;
  while (writer.next_frame(out)) {
  }
  claim(writer.empty(), "a writer without frames is empty");
  const Read again = read(out, out.size(), true);
  claim(again.error.empty() && again.idle, "what the writer makes can be read");
  std::vector<Message> expected;
  for (std::uint8_t lane = 0; lane <= 3; ++lane)
    for (const Message& message : whole.messages)
      if (message.lane == lane) expected.push_back(message);
  claim(std::ranges::equal(again.messages, expected, same), "frames carry every message whole");
}

}  // namespace

void one_input(ByteView bytes) {
  Input in(bytes);
  const std::uint8_t how = in.u8();
  const bool raised = how & 1;
  const std::size_t piece = 1 + (how >> 1);
  const ByteView stream = in.rest();
  const Read whole = read(stream, std::max<std::size_t>(stream.size(), 1), raised);
  const Read pieces = read(stream, piece, raised);
  claim(whole.error == pieces.error, "pieces fail as the whole does");
  claim(std::ranges::equal(whole.messages, pieces.messages, same), "pieces give the same messages");
  claim(whole.skipped == pieces.skipped, "pieces skip what the whole skips");
  claim(!whole.error.empty() || whole.idle == pieces.idle, "pieces end in the same state");
  for (const Message& message : whole.messages) check_limits(message, raised);
  check_writer(whole);
}

std::vector<Bytes> seeds() {
  FrameWriter writer;
  writer.queue(wire::make_message(wire::Type::hello, to_bytes("hello")));
  writer.queue(wire::make_message(wire::Type::ping, Bytes(wire::kPingBytes)));
  writer.queue(wire::make_message(wire::Type::batch, to_bytes("a batch"), 3));
  writer.queue(wire::make_message(wire::Type::batch, Bytes(70'000), 1));
  writer.queue(wire::make_message(static_cast<wire::Type>(99), to_bytes("from the future"), 2));
  std::vector<Bytes> seeds;
  Bytes stream{std::byte{0x0f}};
  while (writer.next_frame(stream)) seeds.push_back(stream);
  return seeds;
}

}  // namespace postern::fuzz
