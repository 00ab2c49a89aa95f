#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/worker.h"
#include "spool/spool.h"

namespace postern::spool {

inline constexpr std::size_t kQueueBytesMax = 64u << 20;  // messages waiting for their sync
inline constexpr std::size_t kGroupBytesMax = 8u << 20;   // messages in one append of the spool

/// Runs a Spool on a worker of its own, so that no event loop waits for a disk.
///
/// Group commit: whatever waits when the previous sync returned goes into the next one (up to
/// kGroupBytesMax); there is no timer. When nothing waits, the spool tidies up, one step at a time.
/// All functions may be called from any thread and return at once. Completions are handed to `post`
/// in the order of their calls, except that reads overtake appends; they run where the owner's loop
/// runs them. `post` must work until the destructor has returned.
class SpoolThread {
 public:
  using Post = std::function<void(std::function<void()>)>;
  /// The worker has nothing else to do.
  SpoolThread(std::unique_ptr<Spool> spool, std::unique_ptr<Worker> worker, Post post,
              std::size_t queue_bytes_max = kQueueBytesMax);
  /// Finishes what is queued, then ends the spool and the worker. It takes as long as the disk
  /// does.
  ~SpoolThread();
  SpoolThread(const SpoolThread&) = delete;
  SpoolThread& operator=(const SpoolThread&) = delete;

  /// Whether an append of so many bytes would be taken. False pushes back on whoever sends.
  bool has_room(std::size_t bytes) const;

  /// Durable when `done` gets a location. On an error it is not stored, and the caller may try
  /// again later: `exhausted` also when has_room() would have said no.
  void append(Spool::Append batch, std::function<void(Result<Location>)> done);
  void read(const Location& location, std::function<void(Result<Bytes>)> done);
  void release(std::vector<Location> locations);
  void note_settled(const wire::StreamKey& stream, SharedBytes settled_message);

  /// `done` when the worker has come to it: a disk that hangs lets nothing come to it.
  void ask(std::function<void()> done);

  Usage usage() const;  // as of the last time the worker finished something

 private:
  struct PendingAppend {
    Spool::Append batch;
    std::function<void(Result<Location>)> done;
  };
  struct PendingRead {
    Location location;
    std::function<void(Result<Bytes>)> done;
  };
  struct PendingSettled {
    wire::StreamKey stream;
    SharedBytes message;
  };
  struct Work {
    std::vector<PendingAppend> appends;
    std::vector<PendingRead> reads;
    std::vector<PendingSettled> settled;
    std::vector<Location> released;
  };

  void wake();
  void work_off();
  void tidy();
  void tidy_later();
  void do_work(Work work);
  void do_appends(std::span<PendingAppend> group);
  void finish(std::vector<std::function<void()>> completions, std::size_t appended_bytes);

  std::unique_ptr<Spool> spool_;  // the worker's alone once something was posted to it
  const Post post_;
  const std::size_t queue_bytes_max_;

  mutable std::mutex mutex_;  // guards the six below
  Work queue_;
  std::size_t queued_bytes_ = 0;  // of appends without a result
  Usage usage_;
  bool posted_ = false;   // a piece of work waits for the worker and will take all that is queued
  bool tidying_ = false;  // a step of tidying waits for the worker
  bool ending_ = false;

  std::unique_ptr<Worker> worker_;  // last: it uses all the others
};

}  // namespace postern::spool
