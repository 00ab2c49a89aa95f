// Batches on their way into the store, and the word that goes back about them.

#include <algorithm>

#include "server/server.h"

namespace postern {
namespace {

constexpr Duration kOwnRetry = std::chrono::seconds(5);

}  // namespace

void Server::on_batch(node::Child& child, const wire::Stamped&, const wire::BatchView& batch,
                      SharedBytes message) {
  const std::size_t bytes = message->size();
  auto stamped = wire::add_stamp(*message, {child.who().id, around_.clock.wall()});
  if (!stamped || arrived_bytes_ + bytes > kArrivedBytesMax) {
    child.taken(batch.header.stream.lane, bytes);
    child.answer(batch.header.stream, batch.header.sequence, sha256(batch.signed_part),
                 node::kNotYet,
                 stamped ? "the store is slower than the batches come" : stamped.error().message,
                 std::chrono::seconds(2));
    return;
  }
  arrived_bytes_ += stamped->size();  // as on_ingested() counts it back
  arrived_.push_back({child.channel_id(), std::make_shared<const Bytes>(std::move(*stamped)),
                      around_.clock.wall()});
  apply_next();
}

/// One transaction at a time; what arrives meanwhile shares the next one.
void Server::apply_next() {
  if (applying_ || arrived_.empty()) return;
  applying_ = true;
  std::vector<Arrived> now(
      std::make_move_iterator(arrived_.begin()),
      std::make_move_iterator(arrived_.begin() + static_cast<std::ptrdiff_t>(
                                                     std::min(arrived_.size(), kApplyBatchesMax))));
  arrived_.erase(arrived_.begin(), arrived_.begin() + static_cast<std::ptrdiff_t>(now.size()));
  store_thread_->post([this, alive = alive_, now = std::move(now)]() mutable {
    Ingested ingested = ingest_->take(std::move(now));
    core_.post([this, alive, ingested = std::move(ingested)]() mutable {
      if (!*alive) return;
      applying_ = false;
      on_ingested(std::move(ingested));
      apply_next();
      // After the answers, so that no commit waits for a checkpoint that could come between.
      if (!applying_)
        store_thread_->post([this] {
          if (auto tidied = store_->tidy(); !tidied)
            log_.warning("the store's log is not written back: {}", tidied.error().message);
        });
    });
  });
}

void Server::on_ingested(Ingested ingested) {
  store_answers_ = ingested.generation != 0;
  for (const Verdict& verdict : ingested.verdicts) {
    arrived_bytes_ -= std::min(arrived_bytes_, verdict.message_bytes);
    if (verdict.kind == Verdict::Kind::applied) {
      ++applied_;
      changed("values", verdict.stream.node.hex());
    }
    if (verdict.kind == Verdict::Kind::duplicate) ++duplicates_;
    if (verdict.own) on_own(verdict);
    node::Child* child = verdict.channel == 0 ? nullptr : children_->by_channel(verdict.channel);
    if (child == nullptr) continue;
    // The child counted its message, which had one stamp less.
    child->taken(verdict.stream.lane, verdict.message_bytes - wire::kStampBytes);
    switch (verdict.kind) {
      case Verdict::Kind::applied:
      case Verdict::Kind::duplicate:
        break;  // answered by coverage below
      case Verdict::Kind::copy_refused:
        child->answer(verdict.stream, verdict.sequence, verdict.hash, node::kCopyRefused,
                      verdict.words, std::chrono::seconds(0));
        break;
      case Verdict::Kind::refused_for_good:
        child->answer(verdict.stream, verdict.sequence, verdict.hash, node::kRefusedForGood,
                      verdict.words, std::chrono::seconds(0));
        break;
      case Verdict::Kind::not_yet:
        child->answer(verdict.stream, verdict.sequence, verdict.hash, node::kNotYet, verdict.words,
                      std::chrono::seconds(10), verdict.evidence);
        break;
    }
  }
  if (ingested.generation > generation_) on_generation(ingested.generation);
  std::map<std::uint64_t, std::vector<wire::Coverage>> stored;  // by channel
  for (wire::Coverage& coverage : ingested.coverages) {
    children_->for_each_of(coverage.stream, [&](node::Child& child) {
      stored[child.channel_id()].push_back(coverage);
    });
    settle(std::move(coverage), ingested.generation);
  }
  for (const auto& [channel, list] : stored)
    if (node::Child* child = children_->by_channel(channel))
      for (Bytes& body : wire::encode_coverage_messages(list))
        child->send(wire::make_message(wire::Type::stored, std::move(body)));
}

void Server::on_offer(node::Child& child, const std::vector<wire::Coverage>& offers) {
  Asked& asked = asked_[child.channel_id()];
  for (const wire::Coverage& offer : offers) asked.offered.insert(offer.stream);
  if (!asked.answering) answer_offers(child.channel_id());
}

/// One request a child at a time; what it offers meanwhile waits for the next one.
void Server::answer_offers(std::uint64_t channel) {
  Asked& asked = asked_[channel];
  if (children_->by_channel(channel) == nullptr) asked.offered.clear();
  asked.answering = !asked.offered.empty();
  if (!asked.answering) {
    if (asked.idle()) asked_.erase(channel);
    return;
  }
  std::vector<wire::StreamKey> streams;
  while (!asked.offered.empty() && streams.size() < wire::kCoverageListMax)
    streams.push_back(asked.offered.extract(asked.offered.begin()).value());
  store_thread_->post([this, alive = alive_, channel, streams = std::move(streams)] {
    std::vector<wire::Coverage> coverages;
    const auto generation = store_->generation();
    for (const wire::StreamKey& stream : streams) {
      auto coverage = store_->settled_coverage(stream);
      if (!coverage)
        log_.error("what is settled of {} cannot be read, all of it is asked for again: {}",
                   stream.text(), coverage.error().message);
      // A duplicate does no harm; without an answer the child would wait for ever.
      coverages.push_back(coverage ? std::move(*coverage) : wire::Coverage{stream, {}});
    }
    core_.post([this, alive, channel, generation = generation.value_or(0),
                coverages = std::move(coverages)]() mutable {
      if (!*alive) return;
      if (generation > generation_) on_generation(generation);
      if (node::Child* asker = children_->by_channel(channel)) {
        for (Bytes& body : wire::encode_coverage_messages(coverages))
          asker->send(wire::make_message(wire::Type::stored, std::move(body)));
        for (wire::Coverage& coverage : coverages)
          if (!coverage.intervals.empty()) settle(std::move(coverage), generation);
      }
      answer_offers(channel);
    });
  });
}

/// The signed word, at most once a second for a stream.
void Server::settle(wire::Coverage coverage, std::uint32_t generation) {
  if (generation == 0) return;  // not known now; the next offer or batch asks again
  settler_.on_coverage(std::move(coverage), generation, core_.now());
  sign_due();
}

void Server::sign_due() {
  for (const Settler::Due& due : settler_.take_due(core_.now())) {
    const wire::Message message =
        wire::make_message(wire::Type::settled, signed_settled(due.coverage, due.generation));
    children_->for_each_of(due.coverage.stream, [&](node::Child& child) { child.send(message); });
  }
  if (settler_.wake_at() != TimePoint::max())
    settle_timer_ = core_.after(settler_.wake_at() - core_.now(), [this] { sign_due(); });
}

Bytes Server::signed_settled(const wire::Coverage& coverage, std::uint32_t generation) const {
  wire::Settled settled;
  settled.group = identity_.self.group_id;
  settled.server = identity_.self.id;
  settled.delegation = delegate_.number;
  settled.generation = generation;
  settled.issued = around_.clock.wall();
  settled.coverage = coverage;
  const Bytes signed_part = encode_signed_part(settled);
  const Signature signature = delegate_.key.sign(wire::kSettledContext, signed_part);
  Writer body;
  body.bytes(signed_part).bytes(signature);
  return body.take();
}

// ---- Our own measurements

Result<> Server::open_outbox() {
  // What we know of our own streams is in the store; the relay only helps to find the ends.
  relay::Relay known(identity_.self.id, {});
  auto streams = store_->streams(identity_.self.id);
  if (!streams) return std::unexpected(streams.error());
  for (const store::StreamRow& row : *streams) {
    wire::Settled settled;
    settled.coverage = {row.stream, row.applied};
    known.restored(settled, nullptr, core_.now());
  }
  auto choice = node::choose_epoch(around_.disk, settings_.state_dir, identity_.self.id, known, 0,
                                   around_.random);
  if (!choice) return std::unexpected(choice.error());
  outbox_.emplace(identity_.self.identity, choice->epoch);
  outbox_->resume(known);
  if (choice->opening) {
    own_.push_back(outbox_->seal_opening(*choice->opening, around_.clock.wall()).message);
  }
  return {};
}

void Server::on_sample(node::Sampler::Sample sample) {
  const WallTime now = around_.clock.wall();
  // No number was given yet: no hole.
  if (arrived_bytes_ > kArrivedBytesMax || own_.size() > kOwnMax) return;
  Sighting sighting;
  sighting.seen.id = identity_.self.id;
  sighting.seen.time = now;
  sighting.seen.software = node::kSoftware;
  sighting.seen.certificate_not_after = tls_->credential()->chain.front().not_after();
  note(std::move(sighting));
  for (const Payload& payload : sample.inventory)
    put(outbox_->seal(wire::Lane::state, wire::PayloadKind::logs, payload, now).message);
  for (const Payload& payload : sample.metrics)
    put(outbox_->seal(wire::Lane::metric, wire::PayloadKind::metrics, payload, now).message);
}

void Server::put(SharedBytes message) {
  own_.push_back(std::move(message));
  put_next();
}

void Server::put_next() {
  if (own_under_way_ || own_timer_.running() || own_.empty()) return;
  own_under_way_ = true;
  arrived_bytes_ += own_.front()->size();
  arrived_.push_back({0, own_.front(), around_.clock.wall()});
  apply_next();
}

void Server::on_own(const Verdict& verdict) {
  own_under_way_ = false;
  // What is contradicted will never be taken; nobody but the store ever had it.
  const bool again = verdict.kind == Verdict::Kind::not_yet && verdict.evidence.empty();
  if (again)
    own_timer_ = core_.after(kOwnRetry, [this] { put_next(); });
  else
    own_.pop_front();
  put_next();
}

}  // namespace postern
