#include "sim/run.h"

#include "sim/fake_key.h"
#include "sim/group.h"
#include "wire/channel.pb.h"

namespace postern::sim {
namespace {

constexpr Duration kQuietTimeMax = std::chrono::minutes(40);
constexpr Duration kRest = std::chrono::minutes(3);  // for what nothing waits for
constexpr std::uint64_t kEventsMax = 3'000'000;      // of one run; the usual one has 2,000
constexpr Duration kLookEvery = std::chrono::seconds(20);

/// Tells the oracle what origins send of their own; the captured gateway sits behind it.
class Tap final : public WireTap {
 public:
  Tap(Oracle& oracle, Coverage& coverage) : oracle_(oracle), coverage_(coverage) {}
  void set_captured(Captured* captured) { captured_ = captured; }
  bool leaving(Channel& channel, const Host& from, const Host&, wire::Message& message) override {
    if (message.type == wire::Type::batch) oracle_.on_batch_sent(from.index(), message.bytes());
    if (message.type == wire::Type::answer) on_answer(message.bytes());
    if (message.type == wire::Type::request || message.type == wire::Type::notice ||
        message.type == wire::Type::move)
      coverage_.count(wire::to_string(message.type));
    if (message.type == wire::Type::head) on_head(from, message.bytes());
    if (message.type == wire::Type::settled && oracle_.is_server(from.index()))
      if (const auto view = wire::read_settled(message.bytes()))
        oracle_.on_settled_said(view->settled.coverage);
    return captured_ == nullptr || !captured_->has(from) || captured_->leaving(channel, message);
  }
  bool arriving(Channel& channel, const Host&, const Host& to, wire::Message& message) override {
    return captured_ == nullptr || !captured_->has(to) || captured_->arriving(channel, message);
  }

 private:
  void on_answer(ByteView message) {
    constexpr std::string_view kVerdicts[] = {"answer: none", "answer: copy refused",
                                              "answer: refused for good", "answer: not yet"};
    wire::pb::Answer answer;
    if (!answer.ParseFromArray(message.data(), static_cast<int>(message.size()))) return;
    coverage_.count(kVerdicts[answer.verdict() & 3]);
    if (!answer.evidence().empty()) coverage_.count("answer: with evidence");
  }

  /// A head of the sender itself carries no stamp yet.
  void on_head(const Host& from, ByteView message) {
    wire::pb::Signed outer;
    wire::pb::Head head;
    if (message.empty() || message[0] != std::byte{0} ||
        !outer.ParseFromArray(message.data() + 1, static_cast<int>(message.size() - 1)) ||
        !head.ParseFromString(outer.body()))
      return;
    oracle_.on_head_sent(as_bytes(outer.SerializeAsString()));
    for (const auto& document : head.documents())
      oracle_.on_document_number(from.index(), from.life(), document.type(), document.generation(),
                                 document.number());
  }

  Oracle& oracle_;
  Coverage& coverage_;
  Captured* captured_ = nullptr;
};

class Run {
 public:
  Run(std::uint64_t seed, const Options& options, Certificates& certificates, Trace& trace,
      Coverage& coverage)
      : options_(options),
        random_(seed),
        trace_(trace),
        wires_(events_, random_, trace, coverage),
        oracle_(trace, coverage),
        samples_(oracle_, random_),
        tap_(oracle_, coverage),
        surface_{events_, random_, wires_, oracle_, samples_, trace, coverage},
        group_(surface_, certificates, draw_shape(random_)),
        faults_(surface_, group_) {
    tap_.set_captured(&faults_.captured());
    wires_.set_tap(&tap_);
  }

  Outcome outcome() {
    const TimePoint start = events_.now();
    say_shape();
    for (std::size_t i = 0; i < group_.size(); ++i) {
      Machine& machine = group_.machine(i);
      events_.after(std::chrono::milliseconds(random_.below(3000)),
                    [&machine] { machine.start(); });
    }
    const Duration busy = std::chrono::seconds(40 + random_.below(200));
    if (options_.faults) faults_.plan(start + busy, options_.only, options_.without);
    until(start + busy);
    samples_.stop();
    faults_.repair();
    if (!oracle_.broken()) quiet();
    if (!oracle_.broken()) check();
    Outcome outcome;
    outcome.broken = oracle_.broken();
    if (outcome.broken) outcome.broken->words += fmt::format(" [{}]", faults_.happened());
    outcome.digest = trace_.digest();
    outcome.events = events_.done();
    outcome.promised = oracle_.promised();
    outcome.virtual_time = events_.now() - start;
    return outcome;
  }

 private:
  void say_shape() {
    if (!trace_.wants_lines()) return;
    const Shape& shape = group_.shape();
    std::string text = fmt::format(
        "spools of {} bytes in segments of {}, {} bytes in flight, {} cached, credit of {}, "
        "windows "
        "of {} to {}, a sample every {} s",
        shape.spool_bytes_max, shape.segment_bytes, shape.relay.in_flight_bytes_max,
        shape.relay.cached_bytes_max, shape.credit.granted_bytes_max, shape.credit.first_bytes_min,
        shape.credit.window_bytes_max, shape.interval / std::chrono::seconds(1));
    for (std::size_t i = shape.servers; i < group_.size(); ++i)
      text += fmt::format(", {} -> {}", group_.machine(i).label(),
                          fmt::join(shape.parents[i - shape.servers], " "));
    trace_.line(events_.now(), "group", text);
  }

  void until(TimePoint end) {
    while (!oracle_.broken() && events_.step(end))
      if (events_.done() > kEventsMax) oracle_.breaks("D9", "it goes on and on, and gets nowhere");
  }

  /// Everything works again: what was promised has to arrive, in bounded time.
  void quiet() {
    const TimePoint end = events_.now() + kQuietTimeMax;
    while (events_.now() < end && !oracle_.broken()) {
      until(events_.now() + kLookEvery);
      const bool rested = faults_.removed().empty() || events_.now() > end - kQuietTimeMax + kRest;
      if (rested && !first_detached() && oracle_.all_delivered()) return;
    }
  }

  /// A node that belongs to the group and has no parent.
  Machine* first_detached() {
    std::set<std::size_t> attached;
    for (const auto& joint : wires_.joints())
      if (joint->attached()) attached.insert(joint->host(0).index());
    for (std::size_t i = group_.shape().servers; i < group_.size(); ++i)
      if (!attached.contains(i) && !oracle_.is_removed(group_.machine(i).node()))
        return &group_.machine(i);
    return nullptr;
  }

  void check() {
    oracle_.check_delivery();
    if (const Machine* const alone = first_detached())
      oracle_.breaks("P1", fmt::format("{} finds no parent any more", alone->label()));
    for (const auto& joint : wires_.joints())
      if (joint->attached() && faults_.removed().contains(joint->host(0).index()))
        oracle_.breaks("T2", fmt::format("{} was removed and is still attached to {}",
                                         joint->host(0).label(), joint->host(1).label()));
    for (std::size_t i = 0; i < group_.size() && !oracle_.broken(); ++i) {
      if (group_.is_server(i)) continue;
      const NodeId& node = group_.machine(i).node();
      oracle_.check_current(node, group_.current(node));
      for (const wire::Coverage& applied : group_.applied(node)) oracle_.check_applied(applied);
    }
  }

  const Options& options_;
  Events events_;
  SeededRandom random_;
  Trace& trace_;
  Wires wires_;
  Oracle oracle_;
  Samples samples_;
  Tap tap_;
  Surface surface_;
  Group group_;
  Faults faults_;
};

}  // namespace

bool take_only(std::string_view name, Options& options) {
  if (name == "none") {
    options.faults = false;
    return true;
  }
  const auto kind = Faults::kind_of(name);
  if (kind) options.only.push_back(*kind);
  return kind.has_value();
}

bool take_without(std::string_view name, Options& options) {
  const auto kind = Faults::kind_of(name);
  if (kind) options.without.push_back(*kind);
  return kind.has_value();
}

Outcome run(std::uint64_t seed, const Options& options, Certificates& certificates, Trace& trace,
            Coverage& coverage) {
  seed_keys(seed ^ 0x6b657973);
  Run run(seed, options, certificates, trace, coverage);
  return run.outcome();
}

}  // namespace postern::sim
