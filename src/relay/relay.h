#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/clock.h"
#include "spool/spool.h"
#include "wire/batch.h"
#include "wire/coverage.h"

namespace postern::relay {

/// One batch that this node holds on stable storage.
struct Held {
  wire::StreamKey stream;
  std::uint64_t sequence = 0;
  Digest hash{};
  spool::Location location;
  SharedBytes message;  // null when it must be read from the spool before it can be sent
};

/// Decides what to send to the parent, what to answer to children, and what may be forgotten.
///
/// Agents and gateways run the same class: an agent adds what it sealed itself, a gateway what its
/// children sent. It owns no socket, disk, clock or thread; everything it is told has happened,
/// and it says what to do next. Nothing is forgotten before a settled that names our own hash
/// (rule D3); what an earlier connection said is forgotten at every attach.
class Relay {
 public:
  struct Limits {
    std::size_t in_flight_bytes_max = 8u << 20;  // sent on this connection and not yet stored
    std::size_t cached_bytes_max = 32u << 20;    // messages kept in memory for sending
    std::size_t streams_per_node_max = 256;      // epochs times lanes, of one node
  };
  /// `self`: whose own streams these are; of those only our own hash is believed (batch.md#B31).
  Relay(const NodeId& self, Limits limits) : self_(self), limits_(limits) {}

  // ---- What this node holds

  enum class Arrival : std::uint8_t {
    fresh,         // never seen: write it to the spool, then add()
    held,          // this very batch is on disk or being written: answer with coverage
    settled,       // the server has it: answer with coverage
    equivocation,  // another hash is known for this number (rule D1)
  };
  Arrival classify(const wire::StreamKey& stream, std::uint64_t sequence, const Digest& hash) const;
  /// A fresh batch is on its way to the disk; until added() or dropped() it counts as held, not as
  /// stored.
  void writing(const wire::StreamKey& stream, std::uint64_t sequence, const Digest& hash);
  void added(Held held);
  void write_failed(const wire::StreamKey& stream, std::uint64_t sequence);

  /// What we have of the stream, on disk or settled: the answer to a child (batch.md#B33). With
  /// `up_to`, cut there, so that the child finds its own hash at the end of it.
  wire::Coverage coverage(const wire::StreamKey& stream,
                          std::optional<std::uint64_t> up_to = std::nullopt) const;

  /// What on_settled() made of it. `accepted`: it says at least what was known before, and nothing
  /// that contradicts a batch in hand; only then is it worth keeping and passing on.
  struct Release {
    std::vector<spool::Location> locations;
    bool accepted = false;
  };
  /// A settled whose signature was verified, and its bytes for passing on. Says what may be
  /// released. An interval whose hash is not ours where we hold its last batch is counted as a
  /// mismatch and ignored; one whose last batch we do not hold is believed of others' streams only.
  Release on_settled(const wire::Settled& settled, SharedBytes message = nullptr);
  const wire::Settled* settled(const wire::StreamKey& stream) const;
  /// The newest settled of the stream as it was signed; null when there is none.
  SharedBytes settled_message(const wire::StreamKey& stream) const;

  /// The last (sequence, hash) known of a stream: where an outbox goes on after a restart.
  std::optional<std::pair<std::uint64_t, Digest>> last_of(const wire::StreamKey& stream) const;
  std::vector<wire::StreamKey> streams() const;
  /// Whether a batch of this stream may be taken in: a node has a bounded number of streams here,
  /// so that one that invents epochs cannot fill the memory of its hops.
  bool has_room_for(const wire::StreamKey& stream) const;

  // ---- Towards the parent

  bool waiting_for_answers() const { return in_flight_bytes_ > 0; }
  void on_attached();  // a welcome came: everything has to be offered again
  void on_detached();
  /// Coverages to offer now, at most `max`; each is offered once per connection (channel.md#W30).
  std::vector<wire::Coverage> take_offers(std::size_t max);
  void on_stored(const wire::Coverage& coverage);
  void on_credit(const std::array<std::uint64_t, 3>& totals);
  /// `retry_at`: the parent could not take this copy now; it is sent again after that.
  void on_not_yet(const wire::StreamKey& stream, std::uint64_t sequence, TimePoint retry_at);
  /// Our copy is bad (rule D11): forget it; the origin's is asked for. Returns its location.
  std::optional<spool::Location> on_copy_refused(const wire::StreamKey& stream,
                                                 std::uint64_t sequence, const Digest& hash);

  /// The next batch to send, most important lane first, streams of a lane in turn, or nullptr when
  /// there is none, credit or the in-flight limit is used up. It counts as sent when returned
  /// unless its message is null: then the caller reads it from the spool and calls loaded().
  const Held* next(TimePoint now);
  void loaded(const wire::StreamKey& stream, std::uint64_t sequence, SharedBytes message);
  std::optional<spool::Location> unreadable(const wire::StreamKey& stream, std::uint64_t sequence);
  /// The disk did not answer: it is read again after `retry_at`.
  void read_failed(const wire::StreamKey& stream, std::uint64_t sequence, TimePoint retry_at);
  /// When next() may have something that waits for a retry; TimePoint::max() if nothing does.
  TimePoint wake_at() const { return wake_at_; }

  struct Counts {
    std::uint64_t held = 0, held_bytes = 0;
    std::uint64_t sent = 0, settled = 0, mismatches = 0, equivocations = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  struct Slot {
    Held held;
    bool stored_by_parent = false;
    bool in_flight = false;
    bool loading = false;
    TimePoint retry_at{};
  };
  struct Stream {
    std::map<std::uint64_t, Slot> slots;          // durable, not settled
    std::map<std::uint64_t, std::uint64_t> runs;  // the same numbers, as first -> last of each run
    std::map<std::uint64_t, Digest> writing;      // on the way to the disk
    std::optional<wire::Settled> settled;
    SharedBytes settled_message;
    bool offered = false;             // on this connection
    bool answered = false;            // the parent said what it holds
    std::set<std::uint64_t> to_send;  // neither stored by the parent nor in flight
  };

  Stream& stream_of(const wire::StreamKey& key);
  static void add_run(Stream& stream, std::uint64_t sequence);
  static void remove_run(Stream& stream, std::uint64_t first, std::uint64_t last);
  void mark_stored(Stream& stream, Slot& slot);
  void mark_lost(const wire::StreamKey& key, Stream& stream, Slot& slot);
  void count_out(Stream& stream, std::uint64_t sequence);
  Slot* find(const wire::StreamKey& key, std::uint64_t sequence);
  Slot* sendable(const wire::StreamKey& key, Stream& stream, TimePoint now);

  const NodeId self_;
  Limits limits_;
  std::map<wire::StreamKey, Stream> streams_;
  std::map<NodeId, std::size_t> streams_of_node_;
  std::array<std::set<wire::StreamKey>, 3> ready_;  // per lane: streams with something to send
  std::array<wire::StreamKey, 3> last_served_{};
  std::array<std::uint64_t, 3> credit_{};
  std::array<std::uint64_t, 3> sent_bytes_{};
  std::size_t in_flight_bytes_ = 0;
  std::size_t cached_bytes_ = 0;
  std::size_t loading_bytes_ = 0;  // being read from the spool
  bool attached_ = false;
  TimePoint wake_at_ = TimePoint::max();
  Counts counts_;
};

}  // namespace postern::relay
