#pragma once

#include <array>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "node/outbox.h"

namespace postern::node {

/// Decides about the streams of its own node: what is sealed and when, in which order it goes to
/// the disk, when a new epoch begins, what is sealed again there, and what is answered when the
/// server asks for a hole. For agents, gateways and servers; belongs to the core loop.
///
/// It owns no disk, clock or thread. After anything it is told, the caller calls step() and then
/// does what there is to do: file_to_write(), next_to_write() and next_to_read() of each lane,
/// take_done().
///
/// *Order.* A later batch of a lane is never on disk before an earlier one (rule D1): one of each
/// lane is under way at a time, and the same one is given again until it is written.
///
/// *Epochs.* A new one begins when all that was sealed is on disk, and nothing of it is sealed
/// before STATE/epoch names it durably. What is observed meanwhile waits unsealed, within the
/// limit.
///
/// *Sealed again* (batch.md#B26). After a set-back everything that is held of the old epoch from
/// the first disputed number of each lane on gets a new number. Not all of it need be refused: a
/// later one may still reach a hole of the old stream. The server takes original and copy for one
/// (B28), so that harms nobody; but one copy has to be enough. So the old numbers are planned in
/// STATE/epoch first, and the next numbers of the lane are theirs, in that order: after a crash the
/// end of the lane says which copies are on disk, and resume() forgets their originals and goes on
/// behind them. A batch that turns out not to need a copy leaves the plan, durably, before the next
/// copy is made. When the spool lost a part of the epoch in which copies were being made,
/// choose_epoch() closes the doubtful ones, at most EpochFile::kCopiesMax a lane, with a gap
/// record. A lane that is merely suspected is left alone: its batches are sent in the old epoch,
/// and if they are refused the evidence comes here.
class Origin {
 public:
  using Range = NumberSet::Range;
  using ProbeId = std::array<std::byte, wire::kProbeIdBytes>;

  struct Limits {
    /// Batches sealed and not on disk, together with those that wait to be sealed. Beyond it
    /// observations are dropped before they have a number: no hole; counted.
    std::size_t sealed_max = 256;
    std::size_t reserve_max = 16;    // gap and release records and probes on top of that
    std::size_t pending_max = 1024;  // gap and release records that are not sealed yet
    Duration probe_interval = std::chrono::seconds(1);
  };

  /// What the node holds of its own streams: a view of its relay.
  class Holdings {
   public:
    virtual ~Holdings() = default;
    /// On disk and not settled, ascending.
    virtual std::vector<Range> held(const wire::StreamKey& stream) const = 0;
    /// Settled in the newest generation, ascending.
    virtual std::vector<Range> settled(const wire::StreamKey& stream) const = 0;
    /// What of the range was released to the parent and is not settled.
    virtual std::vector<wire::ReleaseRecord> released(const wire::StreamKey& stream,
                                                      Range range) const = 0;
    /// Of such, what that parent says it does not have any more.
    virtual std::vector<Range> lost_above(const wire::StreamKey& stream, Range range) const = 0;
    /// Our own hash of a number: of a batch that is held or tail, or that such a batch names as its
    /// predecessor, or at the end of what is settled.
    virtual std::optional<Digest> hash(const wire::StreamKey& stream,
                                       std::uint64_t sequence) const = 0;
  };

  /// `choice` comes from choose_epoch(); its opening and what it gave up are sealed first.
  Origin(const PrivateKey& identity, const Holdings& holdings, Random& random, EpochChoice choice,
         Limits limits);
  Origin(const PrivateKey& identity, const Holdings& holdings, Random& random, EpochChoice choice)
      : Origin(identity, holdings, random, std::move(choice), Limits{}) {}
  Origin(const Origin&) = delete;
  Origin& operator=(const Origin&) = delete;

  /// Once, when the relay has everything that the spool gave: goes on behind it. take_done() then
  /// names what came back from the disk and was sealed again before: forget it before anything is
  /// sent.
  void resume(const relay::Relay& relay);

  // ---- What it is told

  struct Observation {
    wire::Lane lane = wire::Lane::metric;
    wire::PayloadKind kind = wire::PayloadKind::metrics;
    Payload payload;
  };
  /// All of them or none. False: there was no room, they are dropped and counted.
  bool on_sample(std::vector<Observation> sample, WallTime now);

  /// The next number of the event lane, kept for seal_reserved(): for whoever must write down what
  /// will be in it first (events.md#E5). Until then the lane seals nothing and the epoch does not
  /// change, so a batch of that number is on disk if and only if it is the one it was kept for.
  /// Nothing while something else of the lane waits, the epoch changes or there is no room.
  struct Reserved {
    wire::StreamKey stream;
    std::uint64_t sequence = 0;
    bool operator==(const Reserved&) const = default;
  };
  std::optional<Reserved> reserve_event();
  void seal_reserved(wire::PayloadKind kind, const Payload& payload, WallTime now);

  /// These batches of ours do not exist any more, or will not (rule D7): a gap record is due. Of
  /// neighbours with one reason there is one record as long as it is not sealed, and of a range
  /// there is one until it is settled. False: too many wait, keep the copies; counted.
  bool on_gap(const wire::GapRecord& gap);
  /// A copy of ours cannot be read from the disk: a gap record is due. When it is the newest of its
  /// lane, a new epoch as well, for a restart would not know its number any more (rule D1).
  void on_unreadable(const wire::StreamKey& stream, std::uint64_t sequence);
  /// Batches of the `state` lane went, and gap records may have been among them: what was said with
  /// those is said again when it is asked for.
  void on_state_given_up();
  /// A copy of these is to be given up because the parent has it (batch.md#B25). Merged and
  /// refused like gaps.
  bool on_release(const wire::ReleaseRecord& release);
  /// A verified settled. True when it shows that we were set back or cloned: a new epoch begins.
  bool on_settled(const wire::Coverage& coverage);
  /// The relay rewound (rule D10): tails are held again.
  void on_rewound();
  /// The evidence of an answer to one of our batches (channel.md#W32): header and signature of the
  /// other batch. True when it shows that we were set back or cloned: a new epoch begins, or more
  /// of an older one is sealed again. What does not verify changes nothing and is counted.
  bool on_evidence(ByteView evidence);

  /// A verified question for a hole (channel.md#W52). Hashes that the server does not know are not
  /// set.
  struct Hole {
    wire::StreamKey stream;
    Range range;
    std::optional<Digest> before, at_last;
  };
  struct Answer {
    std::vector<Range> send_again;  // held: the relay sends them, whatever the parent said
    std::size_t gaps = 0;           // records that will be sealed for the rest
    std::size_t releases = 0;
  };
  Answer on_question(const Hole& hole);

  /// A verified, fresh question for a trace. False: one a second is enough; counted.
  bool on_trace(const ProbeId& id, TimePoint now);

  /// For reasons that the caller sees. What was asked for already is not asked for twice.
  void begin_epoch(wire::EpochOpening::Reason reason);

  // ---- What is to be done

  /// Seals what may be sealed now.
  void step(WallTime now);

  /// What epoch_file() has to say; nothing when it says so, or is being written. Ends with
  /// file_durable() or file_failed(); after the latter it is given again.
  std::optional<Bytes> file_to_write();
  void file_durable();
  void file_failed();

  /// The next batch for the disk; null when there is none or one is under way. Ends with written()
  /// or write_failed(); after the latter it is given again. The pointer holds until then.
  const Outbox::Sealed* next_to_write(wire::Lane lane);
  Outbox::Sealed written(wire::Lane lane);
  void write_failed(wire::Lane lane);

  /// The next batch that is to be sealed again: read it from the disk. Null when there is none or
  /// one is being read. Ends with one of the calls below.
  struct Wanted {
    wire::StreamKey stream;
    std::uint64_t sequence = 0;
    bool operator==(const Wanted&) const = default;
  };
  std::optional<Wanted> next_to_read(wire::Lane lane);
  void read(const Wanted& wanted, ByteView message, WallTime now);  // stamps, then the batch
  void read_failed(const Wanted& wanted);                           // given again
  void read_unreadable(const Wanted& wanted);                       // a gap record instead
  void read_gone(const Wanted& wanted);                             // not held any more

  /// What is certain now, and what may be done with copies because of that.
  struct Done {
    enum class What : std::uint8_t {
      shed,          // the gap record is on disk: the copies may go
      released,      // the release record is on disk: the copies may go
      sealed_again,  // the new copies are on disk: the old ones are to be forgotten
    };
    What what = What::shed;
    wire::StreamKey stream;
    Range range;
    bool operator==(const Done&) const = default;
  };
  std::vector<Done> take_done();

  // ---- What it knows

  const wire::Epoch& epoch() const { return outbox_->epoch(); }
  wire::StreamKey stream(wire::Lane lane) const { return outbox_->stream(lane); }
  /// The end of a lane on disk, for the head: what only exists in memory is not sealed for anybody
  /// else. Nothing when the lane is empty.
  std::optional<Outbox::Position> position(wire::Lane lane) const;
  bool idle() const;  // nothing waits for the disk

  struct Counts {
    std::uint64_t waiting = 0;          // batches sealed or about to be, not on disk
    std::uint64_t samples_dropped = 0;  // calls of on_sample()
    std::uint64_t evidence_refused = 0;
    std::uint64_t records_refused = 0;  // gaps and releases for which there was no room
    std::uint64_t probes_refused = 0;
    std::uint64_t sealed_again = 0;
    std::uint64_t set_back = 0;  // epochs begun for that reason
  };
  Counts counts() const;

 private:
  struct Item {
    Outbox::Sealed sealed;
    std::optional<Done> done;  // when it is on disk
    bool reserved = false;
    bool copy = false;
  };
  struct LaneState {
    std::deque<Item> sealed;  // not on disk, in order; the first may be under way
    bool writing = false;
    std::deque<Observation> waiting;  // not sealed yet
    Outbox::Position durable;
    bool look = false;       // for more to be sealed again, before anything else is sealed
    bool reading = false;    // the first of the plan that has no copy
    std::size_t copied = 0;  // of the plan: sealed
    std::size_t copies_on_disk = 0;
  };
  struct Change {  // of epoch
    wire::EpochOpening::Reason reason{};
    std::array<std::uint64_t, 3> disputed_from{};
    std::uint32_t above = 0;  // the new ordinal is higher
  };

  LaneState& of(wire::Lane lane) { return lanes_[wire::index_of(lane)]; }
  const LaneState& of(wire::Lane lane) const { return lanes_[wire::index_of(lane)]; }
  EpochFile::Plan& plan(wire::Lane lane) { return file_.plans[wire::index_of(lane)]; }
  bool file_is_due() const { return revision_ != durable_revision_; }
  std::size_t waiting() const;
  std::size_t reserved() const;
  std::optional<Digest> hash(const wire::StreamKey& stream, std::uint64_t sequence) const;
  NumberSet queued(const wire::StreamKey& stream) const;

  bool dispute(const wire::StreamKey& stream, std::uint64_t sequence, const Digest& hash);
  void change_epoch();
  using Reason = wire::GapRecord::Reason;
  void outlive(const wire::Epoch& other);
  bool give_up(const Hole& hole, const Range& range, Reason reason);
  void make_plans();
  std::vector<EpochFile::Copy> find_copies(wire::Lane lane) const;
  void drop_copy(const wire::StreamKey& stream, std::uint64_t sequence);
  void seal_lane(wire::Lane lane, WallTime now);
  void seal_records(WallTime now);
  void push(Outbox::Sealed sealed, std::optional<Done> done, bool reserved);

  const PrivateKey& identity_;
  const NodeId node_;
  const Holdings& holdings_;
  Random& random_;
  const Limits limits_;
  std::optional<Outbox> outbox_;
  EpochFile file_;
  std::uint64_t revision_ = 0, durable_revision_ = 0;
  std::optional<std::uint64_t> writing_revision_;
  std::optional<Change> change_;
  std::optional<wire::EpochOpening> opening_;  // of the epoch in file_, not sealed yet
  std::array<LaneState, 3> lanes_;
  std::deque<wire::GapRecord> gaps_;  // not sealed yet
  std::deque<wire::ReleaseRecord> releases_;
  bool event_reserved_ = false;
  std::optional<ProbeId> probe_;
  std::optional<TimePoint> probed_at_;
  std::map<wire::StreamKey, NumberSet> gone_;  // a gap record is made or due, not settled yet
  std::vector<Done> done_;
  Counts counts_;
};

}  // namespace postern::node
