#include "spool/spool_thread.h"

#include <utility>

#include "base/invariant.h"

namespace postern::spool {

SpoolThread::SpoolThread(std::unique_ptr<Spool> spool, std::unique_ptr<Worker> worker, Post post,
                         std::size_t queue_bytes_max)
    : spool_(std::move(spool)),
      post_(std::move(post)),
      queue_bytes_max_(queue_bytes_max),
      usage_(spool_->usage()),
      worker_(std::move(worker)) {}

SpoolThread::~SpoolThread() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  // Behind all work: it writes what was noted, and the disk belongs to the worker.
  worker_->post([this] { spool_.reset(); });
  worker_.reset();
}

bool SpoolThread::has_room(std::size_t bytes) const {
  const std::scoped_lock lock(mutex_);
  return queued_bytes_ + bytes <= queue_bytes_max_;
}

void SpoolThread::append(Spool::Append batch, std::function<void(Result<Location>)> done) {
  invariant(batch.message != nullptr, "a batch has bytes");
  const std::size_t bytes = batch.message->size();
  std::size_t waiting = 0;
  {
    const std::scoped_lock lock(mutex_);
    waiting = queued_bytes_;
    if (waiting + bytes <= queue_bytes_max_) {
      queued_bytes_ += bytes;
      queue_.appends.push_back({std::move(batch), std::move(done)});
      wake();
      return;
    }
  }
  Result<Location> refused = fail(
      Errc::exhausted, "spool: {} bytes wait for the disk already, at most {} may: try again later",
      waiting, queue_bytes_max_);
  post_([done = std::move(done), refused = std::move(refused)] { done(refused); });
}

void SpoolThread::read(const Location& location, std::function<void(Result<Bytes>)> done) {
  const std::scoped_lock lock(mutex_);
  queue_.reads.push_back({location, std::move(done)});
  wake();
}

void SpoolThread::release(std::vector<Location> locations) {
  const std::scoped_lock lock(mutex_);
  queue_.released.insert(queue_.released.end(), locations.begin(), locations.end());
  wake();
}

void SpoolThread::note_settled(const wire::StreamKey& stream, SharedBytes settled_message) {
  const std::scoped_lock lock(mutex_);
  queue_.settled.push_back({stream, std::move(settled_message)});
  wake();
}

void SpoolThread::ask(std::function<void()> done) {
  worker_->post([this, done = std::move(done)] { post_(done); });
}

Usage SpoolThread::usage() const {
  const std::scoped_lock lock(mutex_);
  return usage_;
}

/// With the lock held. What is queued while a piece of work runs shares the next one.
void SpoolThread::wake() {
  if (std::exchange(posted_, true)) return;
  worker_->post([this] { work_off(); });
}

void SpoolThread::work_off() {
  Work work;
  {
    const std::scoped_lock lock(mutex_);
    posted_ = false;
    work = std::exchange(queue_, Work());
  }
  do_work(std::move(work));
  tidy_later();
}

/// Whoever waits goes first: a step is short, and the next comes when the queue was empty.
void SpoolThread::tidy() {
  bool first = false;
  {
    const std::scoped_lock lock(mutex_);
    tidying_ = false;
    first = !posted_;
  }
  if (!first) return;  // that work comes here again
  spool_->tidy();
  finish({}, 0);
  tidy_later();
}

void SpoolThread::tidy_later() {
  if (!spool_->untidy()) return;
  const std::scoped_lock lock(mutex_);
  if (ending_ || std::exchange(tidying_, true)) return;
  worker_->post([this] { tidy(); });
}

/// Reads first, because somebody's connection waits for them and a release behind them may delete
/// the file; settled before appends, to share their sync; releases last, as they may need one more.
void SpoolThread::do_work(Work work) {
  for (PendingRead& read : work.reads) {
    // Shared because std::function copies what it holds, and this may be a megabyte.
    auto result = std::make_shared<Result<Bytes>>(spool_->read(read.location));
    post_([done = std::move(read.done), result] { done(std::move(*result)); });
  }
  for (PendingSettled& settled : work.settled)
    spool_->note_settled(settled.stream, std::move(settled.message));

  std::span<PendingAppend> rest(work.appends);
  while (!rest.empty()) {
    std::size_t count = 0;
    for (std::size_t bytes = 0; count < rest.size(); ++count) {
      bytes += rest[count].batch.message->size();
      if (count > 0 && bytes > kGroupBytesMax) break;
    }
    do_appends(rest.first(count));
    rest = rest.subspan(count);
  }
  if (!work.released.empty()) spool_->release(work.released);
  finish({}, 0);
}

void SpoolThread::do_appends(std::span<PendingAppend> group) {
  std::vector<std::function<void()>> completions;
  std::vector<Spool::Append> batches;
  std::vector<PendingAppend*> admitted;
  std::size_t group_bytes = 0, admitted_bytes = 0;
  for (const PendingAppend& pending : group) group_bytes += pending.batch.message->size();
  const bool room_for_all =
      spool_->admit(wire::Lane::metric, group_bytes, group.size()).has_value();
  for (PendingAppend& pending : group) {
    const std::size_t bytes = pending.batch.message->size();
    // One batch for which there is no room must not fail the others.
    Result<> room;
    if (!room_for_all)
      room = spool_->admit(pending.batch.stream.lane, admitted_bytes + bytes, batches.size() + 1,
                           pending.batch.makes_room);
    if (!room) {
      completions.push_back(
          [done = std::move(pending.done), error = room.error()] { done(std::unexpected(error)); });
      continue;
    }
    admitted_bytes += bytes;
    batches.push_back(std::move(pending.batch));
    admitted.push_back(&pending);
  }
  auto locations = spool_->append(batches);
  for (std::size_t i = 0; i < admitted.size(); ++i) {
    Result<Location> result;
    if (locations)
      result = (*locations)[i];
    else
      result = std::unexpected(locations.error());
    completions.push_back(
        [done = std::move(admitted[i]->done), result = std::move(result)] { done(result); });
  }
  finish(std::move(completions), group_bytes);
}

/// The room and the numbers are right before the owner hears of it.
void SpoolThread::finish(std::vector<std::function<void()>> completions,
                         std::size_t appended_bytes) {
  {
    const std::scoped_lock lock(mutex_);
    queued_bytes_ -= appended_bytes;
    usage_ = spool_->usage();
  }
  if (completions.empty()) return;
  // One wake-up of the owner's loop for the whole group.
  post_([completions = std::move(completions)] {
    for (const auto& completion : completions) completion();
  });
}

}  // namespace postern::spool
