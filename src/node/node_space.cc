// Room on the disk: what is given up when there is none (rule D7).

#include <algorithm>

#include "node/node.h"

namespace postern::node {
namespace {

// In hundredths of spool.bytes_max, by what is live.
// Below 85, where the spool takes no more metrics (spool.md#S33): it counts what is not live, too.
constexpr std::uint64_t kTight = 75;  // room is made from here on ...
constexpr std::uint64_t kEased = 65;  // ... down to here
constexpr std::uint64_t kFull = 82;   // children get no more credit

constexpr std::uint32_t kNoticeShed = 1, kNoticeDamaged = 2;  // channel.md#W36

}  // namespace

void Node::store(relay::Held held, std::function<void(const Result<>&)> done) {
  relay_.writing(held.stream, held.sequence, held.hash);
  spool::Spool::Append append{held.stream, held.sequence, held.hash, held.message};
  spool_->append(std::move(append), [this, held = std::move(held), done = std::move(done)](
                                        Result<spool::Location> stored) mutable {
    if (!stored) {
      relay_.write_failed(held.stream, held.sequence);
      done(std::unexpected(stored.error()));
      if (stored.error().code == Errc::exhausted) make_room(held.message->size());
      return;
    }
    held.location = *stored;
    relay_.added(std::move(held));
    done({});
    look_at_space();
    uplink_.pump();
  });
}

void Node::look_at_space() {
  const spool::Usage usage = spool_->usage();
  const std::uint64_t hundredth = usage.bytes_max / 100;
  if (usage.live_bytes > hundredth * kTight && promised_ == 0)
    make_room(usage.live_bytes - hundredth * kEased);
  const bool full = usage.live_bytes > hundredth * kFull;
  if (full == full_) return;
  full_ = full;
  if (full)
    log_.warning("the spool is full: {} of {} bytes wait for the server", usage.live_bytes,
                 usage.bytes_max);
  else
    log_.info("the spool has room again");
  listener_.on_space(full);
}

/// At least a tenth of the spool, so that it is not looked for at every batch.
void Node::make_room(std::uint64_t bytes) {
  if (promised_ > 0) return;  // it comes free when the records about it are on disk
  const relay::Relay::Room room =
      relay_.make_room(std::max(bytes, spool_->usage().bytes_max / 10), core_.now());
  spool_->release(room.locations);
  for (const wire::ReleaseRecord& release : room.releases)
    if (!origin_->on_release(release)) relay_.keep(release.stream, {release.first, release.last});
  for (const wire::GapRecord& gap : room.gaps) {
    if (!origin_->on_gap(gap)) {
      relay_.keep(gap.stream, {gap.first, gap.last});
      continue;
    }
    log_.error("no space: batches {} to {} of {} are given up ({} records)", gap.first, gap.last,
               gap.stream.text(), gap.records);
  }
  if (room.restate) {
    log_.error("no space: all state waits behind a full spool; it is stated anew");
    origin_->on_state_given_up();
    if (sampler_) sampler_->state_all();
  }
  promised_ = room.promised;
  // Should a record never come to lie on the disk, room is looked for again.
  if (promised_ > 0)
    space_timer_ = core_.after(std::chrono::seconds(10), [this] { promised_ = 0; });
  for (const relay::Relay::Notice& notice : room.notices) {
    log_.warning("no space: batches {} to {} of {} are not kept here any more", notice.range.first,
                 notice.range.last, notice.stream.text());
    notify(notice.stream, notice.range, kNoticeShed, "shed for space");
    listener_.on_lost(notice.stream);
  }
  drive();
}

void Node::on_unreadable(const wire::StreamKey& stream, std::uint64_t sequence) {
  const bool ours = stream.node == identity_.self.id;
  if (ours) origin_->on_unreadable(stream, sequence);
  if (auto location = relay_.unreadable(stream, sequence)) spool_->release({*location});
  if (ours) return drive();
  notify(stream, {sequence, sequence}, kNoticeDamaged, "unreadable");
  listener_.on_lost(stream);
}

void Node::evidence_of(const wire::StreamKey& stream, std::uint64_t sequence,
                       std::function<void(const Bytes&)> done) {
  const auto header_of = [](ByteView message) {
    auto stamped = wire::read_stamped(message);
    if (!stamped || stamped->body.size() < wire::kBatchHeaderBytes) return Bytes();
    return to_bytes(stamped->body.first(wire::kBatchHeaderBytes));
  };
  const relay::Held* copy = relay_.copy_of(stream, sequence);
  if (copy == nullptr) return done({});
  if (copy->message) return done(header_of(*copy->message));
  spool_->read(copy->location, [header_of, done = std::move(done)](Result<Bytes> message) {
    done(message ? header_of(*message) : Bytes());
  });
}

}  // namespace postern::node
