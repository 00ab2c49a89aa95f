#include "net/gate.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace postern {
namespace {

constexpr int kAcceptsPerTurn = 256;
constexpr std::size_t kLinesMax = 10;
constexpr Duration kLinesTime = std::chrono::seconds(10);

Descriptor a_spare() { return Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

/// Waits for a silent guest's first byte.
class Gate::Knock final : public Loop::Watcher {
 public:
  Knock(std::weak_ptr<Gate> gate, std::uint64_t id) : gate_(std::move(gate)), id_(id) {}
  void on_ready(bool, bool) override {
    if (auto gate = gate_.lock()) gate->knocked(id_);
  }

 private:
  const std::weak_ptr<Gate> gate_;
  const std::uint64_t id_;
};

Gate::Gate(Loops& loops, Loop& loop, const Log& log, PortOptions options, Descriptor listener,
           std::shared_ptr<AtomicPortCounters> counters, std::size_t connections_max)
    : loops_(loops),
      loop_(loop),
      log_(log),
      options_(std::move(options)),
      listener_(std::move(listener)),
      spare_(a_spare()),
      counters_(std::move(counters)),
      connections_max_(connections_max),
      sources_({options_.source_rate, options_.source_burst, options_.sources_max,
                options_.source_trusted_for, options_.trusted_sources_max}) {}

void Gate::start() { loop_.watch(listener_.number(), true, false, shared_from_this()); }

void Gate::stop() {
  stopped_ = true;
  loop_.unwatch(listener_.number());
  listener_.reset();
  alarm_.cancel();
  while (!guests_.empty()) cut(guests_.begin(), wire::Refusal::stopping, "the port is closing");
}

void Gate::on_ready(bool, bool) {
  for (int i = 0; i < kAcceptsPerTurn && !stopped_; ++i) {
    SocketAddress address;
    address.size = sizeof address.storage;
    Descriptor accepted(::accept4(listener_.number(), reinterpret_cast<sockaddr*>(&address.storage),
                                  &address.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (accepted) {
      take(std::move(accepted), unmapped(address));
    } else if (errno == EMFILE || errno == ENFILE) {
      spare_a_descriptor();
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return;
    }
  }
}

/// Without a descriptor nothing can be accepted, nor even closed: the queue would stay ready for
/// ever and the loop would spin.
void Gate::spare_a_descriptor() {
  spare_.reset();
  { const Descriptor turned_away(::accept4(listener_.number(), nullptr, nullptr, SOCK_CLOEXEC)); }
  spare_ = a_spare();
  counters_->accepted++;
  counters_->full++;
  note("a connection was closed: this process has no file descriptor left; raise LimitNOFILE");
}

void Gate::take(Descriptor descriptor, const SocketAddress& address) {
  counters_->accepted++;
  const TimePoint now = loop_.now();
  if (!sources_.admit(address.source(), now)) {
    counters_->rate_limited++;
    note(fmt::format("{}: closed: more than {} connections a second from this address",
                     address.text(), options_.source_rate));
    return;
  }
  if (alive_ >= connections_max_) {
    counters_->full++;
    note(fmt::format(
        "{}: closed: {} connections are open, the limit of file descriptors allows no more; raise "
        "LimitNOFILE",
        address.text(), alive_));
    return;
  }
  prepare_channel_socket(descriptor.number());
  const std::uint64_t id = loops_.new_id();
  const int number = descriptor.number();
  Guest guest;
  guest.address = address;
  guest.deadline = now + options_.deadline;
  guest.descriptor = std::move(descriptor);
  const TimePoint deadline = guest.deadline;
  guests_.emplace(id, std::move(guest));
  ++alive_;
  loop_.watch(number, true, false, std::make_shared<Knock>(weak_from_this(), id));
  if (guests_.size() > options_.unauthenticated_max) evict_one();
  counters_->unauthenticated_now = guests_.size();
  set_alarm(deadline);
}

void Gate::evict_one() {
  // The oldest silent one; then the oldest that has not finished its handshake; then the oldest.
  auto victim = std::find_if(guests_.begin(), guests_.end(),
                             [](const auto& g) { return g.second.stage == Stage::silent; });
  if (victim == guests_.end())
    victim = std::find_if(guests_.begin(), guests_.end(),
                          [](const auto& g) { return g.second.stage != Stage::met; });
  if (victim == guests_.end()) victim = guests_.begin();
  counters_->evicted++;
  cut(victim, wire::Refusal::busy,
      fmt::format("closed to make room: {} connections have not authenticated",
                  options_.unauthenticated_max));
}

void Gate::knocked(std::uint64_t id) {
  const auto guest = guests_.find(id);
  if (guest == guests_.end() || guest->second.stage != Stage::silent) return;
  const int number = guest->second.descriptor.number();
  loop_.unwatch(number);
  std::byte first;
  if (::recv(number, &first, 1, MSG_PEEK | MSG_DONTWAIT) <= 0) {  // hung up: a port check, a scan
    counters_->silent++;
    erase(guest);
    return;
  }
  guest->second.stage = Stage::waiting;
  waiting_.push_back(id);
  give_turns();
}

void Gate::give_turns() {
  while (shaking_ < options_.handshakes_max && !waiting_.empty() && !stopped_) {
    const std::uint64_t id = waiting_.front();
    waiting_.pop_front();
    const auto guest = guests_.find(id);
    if (guest == guests_.end()) continue;
    guest->second.stage = Stage::shaking;
    guest->second.turn_ends = loop_.now() + options_.handshake_turn;
    counters_->handshakes_now = ++shaking_;
    auto ticket = std::shared_ptr<void>(nullptr, [weak = weak_from_this(), id](void*) {
      // On whichever thread the connection ended.
      if (auto gate = weak.lock(); gate && !gate->closed_)
        gate->loop_.post([weak, id] {
          if (auto alive = weak.lock()) alive->gone(id);
        });
    });
    guest->second.cut =
        begin_(id, std::move(guest->second.descriptor), guest->second.address, std::move(ticket));
  }
  if (waiting_.empty()) return;
  for (const auto& [id, guest] : guests_)
    if (guest.stage == Stage::shaking) {
      set_alarm(guest.turn_ends);  // the first that began is near enough
      break;
    }
}

void Gate::met(std::uint64_t id, Cut cut, bool has_deadline) {
  const auto guest = guests_.find(id);
  if (guest == guests_.end()) {  // it was cut while this was on its way
    cut(wire::Refusal::busy, "closed while its handshake ended");
    return;
  }
  if (guest->second.stage == Stage::shaking) counters_->handshakes_now = --shaking_;
  guest->second.stage = Stage::met;
  guest->second.cut = std::move(cut);
  if (!has_deadline) guest->second.deadline = TimePoint::max();
  give_turns();
}

void Gate::authenticated(std::uint64_t id) {
  const auto guest = guests_.find(id);
  if (guest == guests_.end()) return;
  counters_->authenticated++;
  sources_.trust(guest->second.address.source(), loop_.now());
  guests_.erase(guest);
  counters_->unauthenticated_now = guests_.size();
}

void Gate::extend(std::uint64_t id, TimePoint deadline) {
  const auto guest = guests_.find(id);
  if (guest == guests_.end()) return;
  guest->second.deadline = deadline;
  set_alarm(deadline);
}

void Gate::gone(std::uint64_t id) {
  --alive_;
  if (const auto guest = guests_.find(id); guest != guests_.end()) {
    if (guest->second.stage == Stage::shaking) counters_->handshakes_now = --shaking_;
    guests_.erase(guest);
    counters_->unauthenticated_now = guests_.size();
  }
  give_turns();
}

/// Ends a guest that we throw out. One with a ticket is still alive until the ticket comes back.
void Gate::cut(Guests::iterator guest, wire::Refusal reason, const std::string& words) {
  if (!stopped_) note(fmt::format("{}: {}", guest->second.address.text(), words));
  Cut how = std::move(guest->second.cut);
  if (guest->second.stage == Stage::silent) loop_.unwatch(guest->second.descriptor.number());
  erase(guest);
  if (how) how(reason, words);
}

void Gate::erase(Guests::iterator guest) {
  const Stage stage = guest->second.stage;
  if (stage == Stage::silent || stage == Stage::waiting) --alive_;
  if (stage == Stage::shaking) counters_->handshakes_now = --shaking_;
  counters_->unauthenticated_now = guests_.size() - 1;  // first: its socket may close with it
  guests_.erase(guest);
  if (stage == Stage::shaking) give_turns();
}

void Gate::set_alarm(TimePoint at) {
  if (stopped_ || (alarm_.running() && alarm_at_ <= at)) return;
  alarm_at_ = at;
  alarm_ = loop_.after(at - loop_.now(), [weak = weak_from_this()] {
    if (auto gate = weak.lock()) gate->look_at_clock();
  });
}

void Gate::look_at_clock() {
  const TimePoint now = loop_.now();
  TimePoint next = TimePoint::max();
  std::vector<std::uint64_t> over;
  for (const auto& [id, guest] : guests_) {
    TimePoint until = guest.deadline;
    // A handshake may take until the deadline while nobody is waiting for its turn.
    if (guest.stage == Stage::shaking && !waiting_.empty())
      until = std::min(until, guest.turn_ends);
    if (until <= now)
      over.push_back(id);
    else
      next = std::min(next, until);
  }
  for (const std::uint64_t id : over) {
    const auto guest = guests_.find(id);
    if (guest == guests_.end()) continue;
    const auto seconds = std::chrono::duration<double>(options_.deadline).count();
    switch (guest->second.stage) {
      case Stage::silent:
        counters_->silent++;
        cut(guest, wire::Refusal::protocol,
            fmt::format("closed: not one byte within {} s", seconds));
        break;
      case Stage::waiting:
        counters_->half_handshake++;
        cut(guest, wire::Refusal::protocol,
            fmt::format("closed: no handshake turn within {} s, {} others are shaking hands",
                        seconds, shaking_));
        break;
      case Stage::shaking:
        counters_->half_handshake++;
        cut(guest, wire::Refusal::protocol, "closed: the TLS handshake was begun and not finished");
        break;
      case Stage::met:
        counters_->late++;
        cut(guest, wire::Refusal::protocol,
            fmt::format("closed: the TLS handshake succeeded, but no valid hello within {} s",
                        seconds));
        break;
    }
  }
  if (next != TimePoint::max()) set_alarm(next);
}

void Gate::note(const std::string& line) {
  const TimePoint now = loop_.now();
  if (lines_since_ == TimePoint{} || now - lines_since_ >= kLinesTime) {
    if (lines_left_out_ > 0)
      log_.warning("the port: {} more connections were closed before they authenticated",
                   lines_left_out_);
    lines_since_ = now;
    lines_ = lines_left_out_ = 0;
  }
  if (++lines_ <= kLinesMax)
    log_.info("{}", line);
  else
    ++lines_left_out_;
}

}  // namespace postern
