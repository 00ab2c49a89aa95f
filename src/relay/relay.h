#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "base/clock.h"
#include "relay/runs.h"
#include "relay/turns.h"
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
  NodeId from{};        // the neighbour it came from; nobody: its origin counts as that
  // From its header, for the gap record that may have to speak of it (batch.md#B20).
  Digest previous{};
  WallTime first_time{}, last_time{};
  std::uint32_t records = 0;
};

/// As its header says; where it lies and whom it came from are for the caller to add.
Held held_of(const wire::BatchHeader& header, const Digest& hash, SharedBytes message);

/// Decides what to send to the parent, what to answer to children, and what may be forgotten.
///
/// Agents and gateways run the same class: an agent adds what it sealed itself, a gateway what its
/// children sent. It owns no socket, disk, clock or thread; everything it is told has happened,
/// and it says what to do next. Nothing is forgotten before a settled that names our own hash
/// (rule D3), unless space runs out (rule D7); what an earlier connection said is forgotten at
/// every attach.
///
/// A batch is *held* until it is settled and then kept as *tail* for a while: a server that lost
/// commits opens a new generation, and then every tail is held again (rule D10). relay.cc is about
/// what is held and settled, relay_sending.cc about what goes up, relay_room.cc about space.
class Relay {
 public:
  struct Limits {
    std::size_t in_flight_bytes_max = 8u << 20;  // sent on this connection and not yet stored
    std::size_t cached_bytes_max = 32u << 20;    // messages in memory for sending; backlog: half
    std::size_t streams_per_node_max = 256;      // epochs times lanes, of one node
    unsigned backlog_share_percent = 25;         // of the bytes sent while live data waits
    Duration tail_age = std::chrono::minutes(10);
    // How long a hole is asked for until a parent that left us with it counts as gone for good.
    Duration release_patience = std::chrono::hours(24);
    std::uint64_t tail_bytes_max = 256u << 20;
  };
  /// `self`: whose own streams these are; of those only our own hash is believed (batch.md#B31).
  Relay(const NodeId& self, Limits limits) : self_(self), limits_(limits) {}
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // ---- What this node holds

  enum class Arrival : std::uint8_t {
    fresh,         // not here: write it to the spool, then added()
    held,          // on disk, being written, or released to our parent: answer with coverage
    settled,       // the server has it: answer with coverage
    equivocation,  // another hash is known for this number (rule D1)
  };
  Arrival classify(const wire::StreamKey& stream, std::uint64_t sequence, const Digest& hash) const;
  /// A fresh batch is on its way to the disk; until added() or write_failed() it counts as held,
  /// not as stored.
  void writing(const wire::StreamKey& stream, std::uint64_t sequence, const Digest& hash);
  void added(Held held);
  void write_failed(const wire::StreamKey& stream, std::uint64_t sequence);
  /// At the start, when all entries of the spool are added(): the settled that the spool kept. It
  /// was verified when it was kept; what it covers becomes tail as of `now`.
  void restored(const wire::Settled& settled, SharedBytes message, TimePoint now);

  /// What we have of the stream, on disk, settled in the newest generation, or released to our
  /// parent: the answer to a child (batch.md#B33). With `up_to`, cut there, so that the child finds
  /// its own hash at the end of it.
  wire::Coverage coverage(const wire::StreamKey& stream,
                          std::optional<std::uint64_t> up_to = std::nullopt) const;

  struct Verdict {
    /// It says at least what was known before, and nothing that contradicts a batch in hand: it had
    /// its effect, is worth keeping and passing on. Otherwise it changed nothing (B44).
    bool accepted = false;
    /// It says less than the settled_message() we keep, or is of an older generation, so ours is to
    /// be shown to the parent (W34). Reported once per stream and connection.
    bool behind = false;
    /// It names a batch of our own stream that we never made: if it is our present epoch, this
    /// folder was set back or cloned, and a new epoch is due (rule D1). For the origin only.
    bool set_back = false;
    /// It ends an interval with another batch than our copy of `contradicted`, of another node's
    /// stream: that one will never be taken, and its origin knows what to do. forget() it and ask
    /// again: nothing else changed.
    std::optional<std::uint64_t> contradicted;
    /// It opened a new generation: what older ones settled is not settled any more, tails are held
    /// again, and every stream concerned is offered again (B42).
    bool rewound = false;
  };
  /// A settled whose signature was verified, and its bytes for passing on. An interval whose last
  /// batch we do not hold is believed of others' streams only. What it covers becomes tail; nothing
  /// is given back before trim_tails() or make_room().
  Verdict on_settled(const wire::Settled& settled, SharedBytes message, TimePoint now);
  /// The newest settled of the stream; null when there is none in the newest generation.
  const wire::Settled* settled(const wire::StreamKey& stream) const;
  SharedBytes settled_message(const wire::StreamKey& stream) const;  // the same, as it was signed
  /// Whether the settled that is kept names any of the range: who asks for that has lost it (W34).
  bool covers_settled(const wire::StreamKey& stream, Range range) const;
  /// The highest generation that a verified message named.
  std::uint32_t generation() const { return generation_; }

  /// The last (sequence, hash) that this node had or knew to be settled: where an outbox goes on
  /// after a restart.
  std::optional<std::pair<std::uint64_t, Digest>> last_of(const wire::StreamKey& stream) const;
  std::vector<wire::StreamKey> streams() const;
  /// Our copy of one batch, held or tail; nullptr when there is none.
  const Held* copy_of(const wire::StreamKey& stream, std::uint64_t sequence) const;
  std::vector<Range> held_ranges(const wire::StreamKey& stream) const;  // ascending
  /// Our own hash of a number, as far as it is known: of a copy, of the predecessor that a copy
  /// names, or at the end of what is settled.
  std::optional<Digest> hash_of(const wire::StreamKey& stream, std::uint64_t sequence) const;
  /// These are sealed again under other numbers: the copies go, held ones and tails.
  std::vector<spool::Location> forget(const wire::StreamKey& stream, Range range);
  /// What is held of a stream, ascending: what is to be sealed again after a set-back (B26).
  std::vector<const Held*> held_of(const wire::StreamKey& stream) const;
  /// Whether a batch of this stream may be taken in: a node has a bounded number of streams here,
  /// so that one that invents epochs cannot fill the memory of its hops.
  bool has_room_for(const wire::StreamKey& stream) const;

  // ---- Space (rule D7)

  /// Tails that are older than tail_age or over tail_bytes_max, oldest first: give them back to the
  /// spool.
  std::vector<spool::Location> trim_tails(TimePoint now);

  struct Notice {
    wire::StreamKey stream;
    Range range;
    bool operator==(const Notice&) const = default;
  };
  /// What makes room. Neighbouring numbers are merged into ranges.
  struct Room {
    std::vector<spool::Location> locations;  // to be given back to the spool at once
    std::uint64_t freed = 0;                 // bytes of those
    /// Of our own streams a copy goes only when its signed record is on disk: the caller seals
    /// these and then calls released() or shed(), or keep() if it cannot.
    std::vector<wire::ReleaseRecord> releases;
    std::vector<wire::GapRecord> gaps;
    std::uint64_t promised = 0;   // bytes that come with those
    std::vector<Notice> notices;  // shed of others' streams (W36)
    bool restate = false;  // own state goes: after the records everything is to be stated anew
  };
  /// Makes room for `bytes`: tails first, then copies that our parent has stored, and only then
  /// batches are shed: from whoever holds the most here, oldest `metric` first, then oldest
  /// `event`. When `state` alone is left, that of others goes (their origins have it), then all own
  /// at once, to be stated anew: so of every entity the newest is left. Never what is in flight,
  /// nor the newest batch of an own stream, which keeps its position. May find less than asked.
  Room make_room(std::uint64_t bytes, TimePoint now);
  /// The release record of an own range is on disk. Only what the parent still names goes.
  std::vector<spool::Location> released(const wire::StreamKey& stream, Range range);
  /// The gap record of an own range is on disk.
  std::vector<spool::Location> shed(const wire::StreamKey& stream, Range range);
  /// The record could not be written: the copies stay.
  void keep(const wire::StreamKey& stream, Range range);
  /// What of an own range was released and is not settled: the answer to a question for it (W52).
  std::vector<wire::ReleaseRecord> releases_within(const wire::StreamKey& stream, Range range,
                                                   TimePoint now) const;
  /// But these the parent had and says it has no more; or it is another parent that had them, and
  /// they are asked for since release_patience: nobody has them.
  std::vector<Range> lost_releases_within(const wire::StreamKey& stream, Range range,
                                          TimePoint now) const;

  // ---- Towards the parent

  bool waiting_for_answers() const { return in_flight_bytes_ > 0; }
  /// A welcome came from `parent`: everything has to be offered again, and is backlog (rule D8).
  void on_attached(const NodeId& parent);
  void on_detached();
  /// Up to `highest` a child had this when it attached: it is backlog when it comes (rule D8).
  void on_child_offer(const wire::StreamKey& stream, std::uint64_t highest);
  /// Coverages to offer now, at most `max`; each is offered once per connection (channel.md#W30),
  /// and once more when a new generation opens.
  std::vector<wire::Coverage> take_offers(std::size_t max);
  /// True when coverage() says less now, because the parent does not name any more what was
  /// released to it: children have to be answered again.
  bool on_stored(const wire::Coverage& coverage, TimePoint now);
  void on_credit(const std::array<std::uint64_t, 3>& totals);
  /// `retry_at`: the parent could not take this copy now; it is sent again after that.
  void on_not_yet(const wire::StreamKey& stream, std::uint64_t sequence, TimePoint retry_at);
  /// Our copy is bad (rule D11): forget it; the origin's is asked for. Returns its location.
  std::optional<spool::Location> on_copy_refused(const wire::StreamKey& stream,
                                                 std::uint64_t sequence, const Digest& hash);
  /// Hashes of the batches before a hole and at its end, as far as the server knows them.
  struct Edges {
    std::optional<Digest> before, at_last;
  };
  /// A verified question of the server, which knows `generation`, for a hole (W52): what is held
  /// of it is sent again, whatever the parent said of it. Returns what we do not hold, for those
  /// further down; a copy that contradicts an edge is not what was asked for.
  std::vector<Range> on_question(const wire::StreamKey& stream, Range range,
                                 std::uint32_t generation, const Edges& edges, TimePoint now);
  std::vector<Range> on_question(const wire::StreamKey& stream, Range range,
                                 std::uint32_t generation) {
    return on_question(stream, range, generation, {}, {});
  }

  /// The next batch to send, or nullptr when there is none, credit or the in-flight limit is used
  /// up. Live data goes first, the more important lane before the other, streams in turn; the
  /// backlog gets its share meanwhile and everything when no live data waits; nothing goes before
  /// live `state`. It counts as sent when returned unless its message is null: then the caller
  /// reads it from the spool and calls loaded().
  const Held* next(TimePoint now);
  void loaded(const wire::StreamKey& stream, std::uint64_t sequence, SharedBytes message);
  std::optional<spool::Location> unreadable(const wire::StreamKey& stream, std::uint64_t sequence);
  /// The disk did not answer: it is read again after `retry_at`.
  void read_failed(const wire::StreamKey& stream, std::uint64_t sequence, TimePoint retry_at);
  /// When next() may have something that waits for a retry; TimePoint::max() if nothing does.
  TimePoint wake_at() const {
    return retries_.empty() ? TimePoint::max() : std::get<0>(*retries_.begin());
  }

  struct Counts {
    std::uint64_t held = 0, held_bytes = 0;
    std::uint64_t tails = 0, tail_bytes = 0;
    std::uint64_t sent = 0, settled = 0, mismatches = 0;
    std::uint64_t released = 0, shed = 0, rewinds = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  enum class Where : std::uint8_t {
    nowhere,    // in no book
    queued,     // to be sent when its turn comes
    loading,    // being read from the spool for that
    in_flight,  // sent on this connection, not answered
    retry,      // not before retry_at
    stored,     // by the parent
    leaving,    // its gap record is being written
  };
  enum Class : std::uint8_t { live = 0, backlog = 1 };
  struct Slot {
    Held held;
    std::uint64_t order = 0;  // in which it came here
    Where where = Where::nowhere;
    Class part = live;
    bool asked = false;     // by the server: goes whatever the parent says it has
    bool proposed = false;  // its release record is being written
    TimePoint retry_at{};
  };
  struct Tail {
    Held held;
    std::uint64_t order = 0;  // in which it became one
  };
  struct Released {
    std::uint64_t first = 0;
    Digest at_last{};
    NodeId parent;
    bool named = true;                 // by the parent; only then it is in coverage()
    std::optional<TimePoint> asked{};  // first, while it is not named
  };
  struct Queue {
    std::set<std::uint64_t> waiting;
    bool loading = false;  // in order: what is being read goes first
  };
  struct Stream {
    std::map<std::uint64_t, Slot> slots;         // durable, not settled
    Runs runs;                                   // the same numbers
    Runs stored;                                 // of those, what the parent has stored
    std::set<std::uint64_t> pending;             // the others
    std::map<std::uint64_t, Digest> writing;     // on the way to the disk
    std::map<std::uint64_t, Tail> tails;         // durable, settled
    std::map<std::uint64_t, Released> released;  // by last; not settled
    std::map<std::uint64_t, Digest> shed_ends;   // not settled, by last
    std::optional<wire::Settled> settled;        // in the newest generation
    SharedBytes settled_message;
    std::pair<std::uint64_t, Digest> last{};  // ever known
    std::uint64_t backlog_up_to = 0;
    bool offered = false;   // on this connection
    bool answered = false;  // the parent said what it holds
    bool shown = false;     // our settled was shown to the parent on this connection
    std::array<Queue, 2> queues;
  };
  struct Share {  // of a neighbour
    std::uint64_t bytes = 0;
    std::size_t batches = 0;
    std::array<std::map<std::uint64_t, Slot*>, 3> sheddable;  // by lane, oldest first
  };

  bool is_lost(const Released& released, TimePoint now) const;
  Slot* choose(std::initializer_list<wire::Lane> lanes);
  Stream& stream_of(const wire::StreamKey& key);
  Slot* find(const wire::StreamKey& key, std::uint64_t sequence);
  static const Digest* hash_in_hand(const Stream& stream, std::uint64_t sequence);
  static const Digest* known_hash(const Stream& stream, std::uint64_t sequence);
  static void raise_last(Stream& stream, std::uint64_t sequence, const Digest& hash);
  bool is_own(const wire::StreamKey& key) const { return key.node == self_; }
  Slot& insert(Stream& stream, Held held);
  Held take_out(Stream& stream, std::uint64_t sequence);
  void settle(const wire::StreamKey& key, Stream& stream, const wire::Interval& interval,
              TimePoint now);
  bool open_generation(std::uint32_t generation);
  bool never_made(const Stream& stream, const wire::Interval& interval) const;

  void move(Stream& stream, Slot& slot, Where to);
  void leave(Stream& stream, Slot& slot);
  void refresh(const wire::StreamKey& key, Stream& stream, Class part);
  void drop_message(Slot& slot);
  void forget_connection();
  bool confirm_released(const wire::StreamKey& key, Stream& stream, const wire::Coverage& coverage,
                        const std::vector<Range>& believed);
  void wake(TimePoint now);
  Slot* pick(Class part, wire::Lane lane);
  Slot* pick_backlog();
  const Held* hand_out(Slot& slot);

  const NodeId& neighbour_of(const Held& held) const;
  void index(Stream& stream, Slot& slot);
  void unindex(Slot& slot);
  void release_stored(std::uint64_t wanted, Room& room);
  void shed_unsent(std::uint64_t wanted, Room& room);
  void remember_shed(Stream& stream, std::uint64_t sequence, const Digest& hash);
  void remember_released(Stream& stream, std::uint64_t sequence, const Digest& hash);
  spool::Location take_tail(std::uint64_t order);

  const NodeId self_;
  const Limits limits_;
  std::map<wire::StreamKey, Stream> streams_;
  std::map<NodeId, std::size_t> streams_of_node_;
  std::uint32_t generation_ = 0;
  std::uint64_t next_order_ = 0;

  struct TailAt {
    TimePoint since;
    wire::StreamKey stream;
    std::uint64_t sequence = 0;
  };
  std::map<std::uint64_t, TailAt> tails_;                     // by order
  std::array<std::map<std::uint64_t, Slot*>, 3> releasable_;  // by lane, oldest first
  std::map<NodeId, Share> shares_;
  std::set<std::pair<std::uint64_t, NodeId>> largest_;  // the shares, by bytes

  NodeId parent_{};
  bool attached_ = false;
  std::set<std::pair<std::size_t, wire::StreamKey>> to_offer_;  // by lane
  std::array<std::array<Turns, 3>, 2> turns_;                   // by class and lane
  std::set<std::tuple<TimePoint, wire::StreamKey, std::uint64_t>> retries_;
  std::uint64_t backlog_allowance_ = 0;  // bytes that live data has earned for the backlog
  std::array<std::uint64_t, 3> credit_{};
  std::array<std::uint64_t, 3> sent_bytes_{};
  std::size_t in_flight_bytes_ = 0;
  std::size_t state_in_flight_ = 0;  // batches
  std::size_t cached_bytes_ = 0;
  std::size_t loading_bytes_ = 0;  // being read from the spool
  Counts counts_;
};

}  // namespace postern::relay
