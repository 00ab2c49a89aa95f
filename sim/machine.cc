#include "sim/machine.h"

#include <array>

#include "base/invariant.h"

namespace postern::sim {
namespace {

constexpr Duration kStartAgain = std::chrono::seconds(5);

/// Words of the log that tell of something rare; counted as reached.
constexpr std::array kRareWords = {
    "equivocation",
    "is not as",
    "is refused for good",
    "cannot be read from the spool",
    "the spool does not take a batch",
    "the spool takes batches again",
    "not believed",
    "measurements are not kept",
    "refuses our copy",
    "quarantine",
    "a newer connection",
    "generation",
    "epoch",
    "leads through",
    "their origin is asked",
    "are not here any more",
    "our copy goes",
    "are given up",
    "unexplained loss",
};

}  // namespace

Machine::Body::Body(Machine& machine, const Clock& clock)
    : core("core", clock),
      loops(core, 0, clock),
      network(machine.surface_.wires.network_of(machine)),
      workers(machine.surface_.events, machine, machine),
      samplers(machine.surface_.samples) {}

Machine::Machine(Surface& surface, std::string label, std::size_t index, const NodeId& node,
                 Open open)
    : surface_(surface),
      label_(std::move(label)),
      index_(index),
      node_(node),
      open_(std::move(open)),
      clock_(surface.events),
      random_(surface.random.u64()),
      disk_(surface.random.u64(), *this),
      log_(surface.trace.wants_lines() ? Level::debug : Level::warning,
           [this](Level level, std::string_view line) { on_log(level, line); }) {}

Machine::~Machine() { switch_off(); }

void Machine::switch_off() {
  wanted_ = powered_ = false;
  killing_ = true;
  end_body();
}

void Machine::say(std::string_view what) {
  if (surface_.trace.wants_lines()) surface_.trace.line(surface_.events.now(), label_, what);
}

void Machine::on_log(Level level, std::string_view line) {
  say(line);
  if (level < Level::warning) return;
  for (const char* words : kRareWords)
    if (line.find(words) != line.npos) surface_.coverage.count(words);
}

void Machine::start() {
  wanted_ = true;
  powered_ = true;
  if (body_) return;
  ++life_;
  surface_.trace.note(1, index_, life_);
  say("starts");
  failed_ = false;
  body_ = std::make_unique<Body>(*this, clock_);
  auto product = open_({body_->loops, log_, clock_, random_, disk_, *body_->network, body_->workers,
                        body_->samplers});
  if (product) body_->product = std::move(*product);
  if (due_to_crash()) return;
  if (!product) {
    say("does not start: " + product.error().message);
    surface_.coverage.count("a start that failed");
    killing_ = true;
    end_body();
    killing_ = false;
    surface_.events.after(kStartAgain, [this, life = life_] {
      if (life == life_ && wanted_) start();
    });
    return;
  }
  surface_.oracle.turn_ended(index_, true);
  settle();
}

void Machine::stop(const std::string& why) {
  wanted_ = false;
  if (!body_) return;
  say("stops: " + why);
  surface_.trace.note(2, index_, life_);
  enter(life_, [&] { body_->product->stop(why); });
  surface_.events.after(std::chrono::milliseconds(1500), [this, life = life_] {
    if (!body_ || life_ != life) return;
    end_body();
  });
}

/// Nothing that objects do in their destructors is seen by anybody when they were killed.
void Machine::end_body() {
  if (!body_) return;
  ending_ = killing_;
  body_->product.reset();
  ending_ = true;
  body_.reset();
  ending_ = false;
  ++life_;
  ++arming_;
  armed_ = TimePoint::max();
  surface_.oracle.turn_ended(index_, !killing_);
  surface_.oracle.machine_ended(index_);
  surface_.wires.host_ended(*this);
}

void Machine::crash(End how) {
  crash_planned_.reset();
  if (how == End::power_lost) powered_ = false;
  if (!body_) return;
  say(how == End::killed ? "is killed" : "loses power");
  surface_.trace.note(3, index_, how == End::killed ? 0 : 1);
  surface_.coverage.count(how == End::killed ? "kill -9" : "loss of power");
  killing_ = true;
  disk_.fake().fail_at(1, FakeDisk::Failing::from_then_on);
  end_body();
  killing_ = false;
  disk_.fake().heal();
  if (how == End::power_lost) disk_.fake().crash();
  const Duration back = how == End::killed
                            ? kStartAgain
                            : std::chrono::milliseconds(2000 + surface_.random.below(40'000));
  surface_.events.after(back, [this, life = life_] {
    if (life == life_ && wanted_) start();
  });
}

void Machine::replace_disk(const WatchedDisk::Files& files) {
  invariant(!body_, "a disk is replaced while nothing runs");
  surface_.oracle.disk_replaced(index_);
  disk_.replace(surface_.random.u64(), files);
}

void Machine::crash_at_call(std::uint64_t nth, End how) {
  if (!body_) return;
  disk_.fake().fail_at(nth, FakeDisk::Failing::from_then_on);
  crash_planned_ = how;
}

void Machine::heal() {
  crash_planned_.reset();
  disk_.fake().heal();
  disk_.fake().set_bytes_max(UINT64_MAX);
  hangs_until_ = {};
}

bool Machine::due_to_crash() {
  if (!crash_planned_ || !disk_.fake().failed()) return false;
  surface_.coverage.count("crash in the middle of I/O");
  crash(*crash_planned_);
  return true;
}

void Machine::enter(std::uint64_t life, Events::What what) {
  if (!body_ || life != life_) return;
  what();
  if (!body_ || life != life_) return;
  settle();
}

void Machine::settle() {
  if (due_to_crash()) return;
  const auto next = body_->core.run_ready();
  if (due_to_crash()) return;
  arm(next);
}

void Machine::arm(std::optional<TimePoint> when) {
  if (!when || armed_ == *when) return;
  armed_ = *when;
  surface_.events.at(*when, [this, life = life_, arming = ++arming_] {
    if (arming != arming_) return;
    armed_ = TimePoint::max();
    enter(life, [] {});
  });
}

Duration Machine::time_of_task() {
  const Duration hangs = std::max(Duration(0), hangs_until_ - surface_.events.now());
  const std::uint64_t luck = surface_.random.below(100);
  const std::uint64_t up_to_us = luck < 80 ? 3'000 : luck < 99 ? 60'000 : 1'500'000;
  return hangs + std::chrono::microseconds(20 + surface_.random.below(up_to_us));
}

void Machine::run_task(std::uint64_t life, Events::What task) {
  if (!body_ || life != life_) return;
  failed_ = false;
  surface_.trace.note(4, index_, disk_.fake().calls());
  task();
  if (due_to_crash()) return;
  surface_.oracle.turn_ended(index_, !failed_);
  settle();
}

void Machine::on_write(const std::string& path, ByteView bytes) {
  if (path.starts_with("/state/spool/")) surface_.oracle.on_write(index_, node_, path, bytes);
}

void Machine::on_remove(const std::string& path) {
  if (path.starts_with("/state/spool/")) surface_.oracle.on_remove(index_, path);
}

}  // namespace postern::sim
