#include "sim/faults.h"

#include <algorithm>
#include <array>

namespace postern::sim {
namespace {

using Kind = Faults::Kind;
constexpr auto kKinds = static_cast<std::size_t>(Kind::count_);

/// As they stand in the coverage.
constexpr std::array<std::string_view, kKinds> kNames = {
    "fault: kill",      "fault: power",        "fault: crash in io", "fault: restart",
    "fault: cut",       "fault: half open",    "fault: one side",    "fault: stall",
    "fault: link down", "fault: slow link",    "fault: disk error",  "fault: disk full",
    "fault: disk hang", "fault: rot",          "fault: restored",    "fault: cloned",
    "fault: wiped",     "fault: clock",        "fault: parents",     "fault: captured",
    "fault: removed",   "fault: lost commits", "fault: store error"};

constexpr Duration kTenYears = std::chrono::hours(24 * 3652);

}  // namespace

std::string_view Faults::name_of(Kind kind) { return kNames[static_cast<std::size_t>(kind)]; }

std::optional<Kind> Faults::kind_of(std::string_view name) {
  for (std::size_t i = 0; i < kKinds; ++i)
    if (kNames[i].substr(std::string_view("fault: ").size()) == name) return static_cast<Kind>(i);
  return std::nullopt;
}

Faults::Faults(Surface& surface, Group& group)
    : surface_(surface),
      group_(group),
      captured_(surface, group.capturable(), group.key_of_capturable(), group.node_ids()) {}

Machine& Faults::anybody() { return group_.machine(surface_.random.below(group_.size())); }

Machine& Faults::node() {
  const std::size_t servers = group_.shape().servers;
  return group_.machine(servers + surface_.random.below(group_.size() - servers));
}

std::shared_ptr<Joint> Faults::any_joint() {
  const auto joints = surface_.wires.joints();
  return joints.empty() ? nullptr : joints[surface_.random.below(joints.size())];
}

Link* Faults::any_link() {
  const auto joint = any_joint();
  return joint ? &surface_.wires.link(joint->host(0), joint->host(1)) : nullptr;
}

Duration Faults::up_to(int seconds_max) {
  return std::chrono::milliseconds(
      1 + surface_.random.below(static_cast<std::uint64_t>(seconds_max) * 1000));
}

void Faults::say(const Machine& machine, std::string_view what) {
  if (surface_.trace.wants_lines())
    surface_.trace.line(surface_.events.now(), machine.label(), what);
}

void Faults::plan(TimePoint end, const std::vector<Kind>& only, const std::vector<Kind>& without) {
  Random& random = surface_.random;
  std::vector<Kind> kinds = only;
  if (only.empty())
    for (std::size_t i = 0; i < kKinds; ++i)
      if (random.below(3) == 0) kinds.push_back(static_cast<Kind>(i));
  std::erase_if(kinds, [&](Kind kind) { return std::ranges::count(without, kind) > 0; });
  if (kinds.empty()) return;
  const auto span = static_cast<std::uint64_t>((end - surface_.events.now()).count());
  const std::uint64_t count = 1 + random.below(12);
  for (std::uint64_t i = 0; i < count; ++i) {
    const TimePoint when =
        surface_.events.now() + Duration(static_cast<std::int64_t>(random.below(span)));
    const Kind kind = kinds[random.below(kinds.size())];
    surface_.events.at(when, [this, kind] { happen(kind); });
  }
  surface_.events.after(Duration(static_cast<std::int64_t>(random.below(span))),
                        [this] { take_backup(); });
  for (int i = 0; i < 2; ++i)  // for folders that are set back
    surface_.events.after(Duration(static_cast<std::int64_t>(random.below(span))), [this] {
      Machine& machine = node();
      if (!machine.started()) return;
      say(machine, "is copied");
      snapshots_[machine.index()] = machine.files();
    });
}

void Faults::happen(Kind kind) {
  Random& random = surface_.random;
  surface_.coverage.count(name_of(kind));
  happened_.insert(kind);
  surface_.trace.note(2000 + static_cast<std::uint64_t>(kind));
  switch (kind) {
    case Kind::kill:
      return anybody().crash(Machine::End::killed);
    case Kind::power:
      return anybody().crash(Machine::End::power_lost);
    case Kind::crash_in_io: {
      Machine& machine = node();
      const std::uint64_t nth = 1 + random.below(40);
      const bool killed = random.below(2) == 0;
      return machine.crash_at_call(nth, killed ? Machine::End::killed : Machine::End::power_lost);
    }
    case Kind::restart: {
      Machine& machine = anybody();
      machine.stop("an administrator restarts it");
      surface_.events.after(std::chrono::seconds(2) + up_to(5), [&machine] { machine.start(); });
      return;
    }
    case Kind::cut:
      if (const auto joint = any_joint()) joint->cut("connection reset by peer");
      return;
    case Kind::half_open:
      if (const auto joint = any_joint()) {
        const auto which = random.below(3);
        if (which != 0) joint->vanish_from(0);
        if (which != 1) joint->vanish_from(1);
      }
      return;
    case Kind::one_side:
      if (const auto joint = any_joint())
        joint->cut_one_side(static_cast<int>(random.below(2)), "no route to host");
      return;
    case Kind::stall:
      if (const auto joint = any_joint()) {
        const int side = static_cast<int>(random.below(2));
        joint->stall_from(side, surface_.events.now() + up_to(60));
      }
      return;
    case Kind::link_down:
      if (Link* const link = any_link()) {
        link->down = true;
        surface_.events.after(up_to(90), [link] { link->down = false; });
      }
      return;
    case Kind::slow_link:
      if (Link* const link = any_link()) {
        link->bytes_per_second = 200 + random.below(20'000);
        link->latency = up_to(2);
        link->jitter = up_to(1);
      }
      return;
    case Kind::disk_error: {
      Machine& machine = node();
      const auto how =
          random.below(2) == 0 ? FakeDisk::Failing::from_then_on : FakeDisk::Failing::once;
      const Errc code = random.below(4) == 0 ? Errc::exhausted : Errc::unavailable;
      if (code == Errc::exhausted)
        surface_.oracle.excuse(machine.node(), Oracle::Excuse::small_disk);
      machine.disk().fake().fail_at(1 + random.below(30), how, code);
      surface_.events.after(up_to(60), [&machine] { machine.heal(); });
      return;
    }
    case Kind::disk_full: {
      Machine& machine = node();
      std::uint64_t used = 0;
      for (const auto& [path, bytes] : machine.files()) used += bytes.size();
      machine.disk().fake().set_bytes_max(used + random.below(4000));
      surface_.oracle.excuse(machine.node(), Oracle::Excuse::small_disk);
      surface_.events.after(up_to(90), [&machine] { machine.heal(); });
      return;
    }
    case Kind::disk_hang:
      return anybody().hang_disk(up_to(120));
    case Kind::rot:
      return rot(node());
    case Kind::restored:
      if (!snapshots_.empty()) {
        auto at = snapshots_.begin();
        std::advance(at, static_cast<long>(random.below(snapshots_.size())));
        set_back(group_.machine(at->first), at->second);
      }
      return;
    case Kind::cloned:
      if (!snapshots_.empty() && clones_.empty()) {
        const auto& [index, files] = *snapshots_.begin();
        clone(group_.machine(index), files);
      }
      return;
    case Kind::store_error: {
      const std::uint64_t one_in = 1 + random.below(4);
      group_.store().fail_when([&random, one_in](std::string_view doing) -> std::optional<Error> {
        if (random.below(one_in) != 0) return std::nullopt;
        return Error{Errc::unavailable, fmt::format("{}: the database does not answer", doing)};
      });
      surface_.events.after(up_to(60), [this] { group_.store().fail_when(nullptr); });
      return;
    }
    case Kind::lost_commits:
      return lose_commits();
    case Kind::removed:
      return remove_agent();
    case Kind::wiped: {
      Machine& machine = node();
      if (!group_.is_gateway(machine.index())) return;
      WatchedDisk::Files files = machine.files();
      std::erase_if(files, [](const auto& file) {
        return file.first.starts_with("/state/spool") || file.first.starts_with("/state/doc");
      });
      return set_back(machine, files);
    }
    case Kind::clock: {
      Machine& machine = anybody();
      const bool far = random.below(2) == 0;
      const Duration off = far ? kTenYears : up_to(7200);
      machine.clock().set_off(random.below(2) == 0 ? off : -off);
      say(machine, "has another idea of the time");
      if (random.below(2) == 0)
        surface_.events.after(up_to(120), [&machine] { machine.clock().set_off({}); });
      return;
    }
    case Kind::parents: {
      Machine& machine = node();
      auto parents = group_.shape().parents[machine.index() - group_.shape().servers];
      std::reverse(parents.begin(), parents.end());
      return group_.set_parents(machine.index(), parents);
    }
    case Kind::captured:
      return captured_.capture();
    case Kind::count_:
      return;
  }
}

/// The folder of another day: what is there is signed, and not the newest.
void Faults::set_back(Machine& machine, const WatchedDisk::Files& files) {
  surface_.oracle.excuse(machine.node(), Oracle::Excuse::set_back);
  say(machine, "gets an older folder");
  machine.crash(Machine::End::power_lost);
  machine.replace_disk(files);
}

void Faults::clone(Machine& machine, const WatchedDisk::Files& files) {
  surface_.oracle.excuse(machine.node(), Oracle::Excuse::set_back);
  Machine& clone = group_.add_clone(machine.index());
  say(clone, "a copy of the folder is started");
  clone.replace_disk(files);
  clone.start();
  clones_.push_back(&clone);
}

void Faults::remove_agent() {
  if (!removed_.empty() || group_.shape().agents < 2) return;
  Machine& server = group_.machine(surface_.random.below(group_.shape().servers));
  Product* const product = server.product();
  if (product == nullptr) return;
  const std::size_t agent = group_.size() - 1;
  const NodeId& node = group_.machine(agent).node();
  surface_.oracle.removed(node);  // from the question on: the answer may be lost
  server.enter(server.life(), [&] {
    product->call("DELETE", "/api/v1/agents/" + Group::name_of(group_.machine(agent).label()),
                  [this, agent](unsigned status) {
                    if (status >= 300) return;
                    surface_.coverage.count("a node is removed");
                    say(group_.machine(agent), "is removed");
                    removed_.insert(agent);
                  });
  });
}

void Faults::take_backup() {
  backup_ = group_.store().copy();
  backup_ledger_ = surface_.oracle.ledger();
}

/// The database goes back to what it was: a backup is restored while the servers are down, or a
/// standby takes over that had not got everything, and the servers do not even notice.
void Faults::lose_commits() {
  if (!backup_) return;
  const bool restored = surface_.random.below(3) != 0;
  surface_.coverage.count(restored ? "store restored from a backup" : "store failed over");
  say(group_.machine(0), restored ? "the store is restored" : "the store fails over");
  if (restored)
    for (std::size_t i = 0; i < group_.shape().servers; ++i)
      group_.machine(i).crash(Machine::End::power_lost);
  // What the servers had said of themselves since then exists nowhere else.
  for (std::size_t i = 0; i < group_.shape().servers; ++i)
    surface_.oracle.excuse(group_.machine(i).node(), Oracle::Excuse::set_back);
  group_.store().restore(*backup_);
  surface_.oracle.ledger() = backup_ledger_;
  // A removal that nobody outside had heard of is undone, and nobody can know of it.
  if (!surface_.oracle.deny_list_is_known()) removed_.clear();
}

/// A bit of something durable turns while the machine is off.
void Faults::rot(Machine& machine) {
  machine.crash(Machine::End::power_lost);
  const WatchedDisk::Files files = machine.files();
  std::vector<std::string> segments;
  for (const auto& [path, bytes] : files)
    if (path.starts_with("/state/spool/") && !bytes.empty()) segments.push_back(path);
  if (segments.empty()) return;
  const std::string& path = segments[surface_.random.below(segments.size())];
  Bytes bytes = files.at(path);
  const std::size_t at = surface_.random.below(bytes.size());
  bytes[at] ^= static_cast<std::byte>(1u << surface_.random.below(8));
  say(machine, fmt::format("a bit of {} turns at {}", path, at));
  machine.disk().fake().set_contents(path, std::move(bytes));
  surface_.oracle.excuse(machine.node(), Oracle::Excuse::rot);
}

std::string Faults::happened() const {
  std::string text;
  for (const Kind kind : happened_) {
    if (!text.empty()) text += ", ";
    text += name_of(kind).substr(std::string_view("fault: ").size());
  }
  return text;
}

void Faults::repair() {
  say(group_.machine(0), "everything is repaired");
  surface_.wires.repair();
  group_.store().fail_when(nullptr);
  if (captured_.active()) group_.capturable().crash(Machine::End::killed);
  captured_.release();
  for (Machine* const clone : clones_) {
    clone->keep_off();
    clone->crash(Machine::End::killed);
    surface_.oracle.forget_machine(clone->index());
  }
  for (std::size_t i = 0; i < group_.size(); ++i) {
    Machine& machine = group_.machine(i);
    machine.heal();
    machine.clock().set_off({});
    if (!machine.started()) machine.start();
  }
}

}  // namespace postern::sim
