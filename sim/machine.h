#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "node/node.h"
#include "sim/oracle.h"
#include "sim/samples.h"
#include "sim/watched_disk.h"
#include "sim/wires.h"
#include "sim/workers.h"

namespace postern::sim {

/// What all machines of a run share. Outlives them.
struct Surface {
  Events& events;
  Random& random;  // of the world: delays, faults
  Wires& wires;
  Oracle& oracle;
  Samples& samples;
  Trace& trace;
  Coverage& coverage;
};

/// The product's object that runs on a machine, behind one handle.
class Product {
 public:
  virtual ~Product() = default;
  virtual void stop(const std::string& why) = 0;
  virtual void reload(const NodeSettings& settings) { static_cast<void>(settings); }
  /// A call of the API, as an administrator. Answered with the HTTP status, later or never.
  virtual void call(const std::string& method, const std::string& target,
                    std::function<void(unsigned)> done) {
    static_cast<void>(method), static_cast<void>(target), static_cast<void>(done);
  }
};

/// A computer with one node on it: a disk, a clock, and a process that is started, stopped, killed
/// and started again. Everything of the process is destroyed when it ends; only the disk stays.
class Machine final : public Host, private SimWorkers::Runner, private DiskWatcher {
 public:
  using Open = std::function<Result<std::unique_ptr<Product>>(node::Surroundings)>;

  Machine(Surface& surface, std::string label, std::size_t index, const NodeId& node, Open open);
  ~Machine() override;

  void start();  // when it does not open, again after a while, as a service manager does
  void stop(const std::string& why);
  enum class End { killed, power_lost };
  /// It comes back after a while, unless it is kept off.
  void crash(End how);
  /// At the `nth` call of its disk from now on: between any two steps of I/O.
  void crash_at_call(std::uint64_t nth, End how);
  /// Its disk answers nothing for a while.
  void hang_disk(Duration how_long) { hangs_until_ = surface_.events.now() + how_long; }
  /// Everything that was planned against it is forgotten: calls work, nothing hangs.
  void heal();
  /// The end of the run: the process goes, and nobody is told.
  void switch_off();
  /// Stays off until start().
  void keep_off() { wanted_ = false; }
  /// Power off, another disk content, power on again in a while.
  void replace_disk(const WatchedDisk::Files& files);

  WatchedDisk& disk() { return disk_; }
  /// Everything on it, as programs see it. Ends the failures that were planned.
  WatchedDisk::Files files() {
    heal();
    return disk_.files();
  }
  MachineClock& clock() { return clock_; }
  const NodeId& node() const { return node_; }
  Product* product() { return body_ ? body_->product.get() : nullptr; }
  bool started() const { return body_ != nullptr; }

  // Host
  const std::string& label() const override { return label_; }
  std::size_t index() const override { return index_; }
  std::uint64_t life() const override { return life_; }
  bool running() const override { return body_ != nullptr && !ending_; }
  bool powered() const override { return powered_; }
  void enter(std::uint64_t life, Events::What what) override;

 private:
  /// All of a process, in the order of its making.
  struct Body {
    Body(Machine& machine, const Clock& clock);
    Loop core;
    Loops loops;
    std::unique_ptr<Network> network;
    SimWorkers workers;
    SimSamplers samplers;
    std::unique_ptr<Product> product;
  };

  // SimWorkers::Runner
  Duration time_of_task() override;
  void run_task(std::uint64_t life, Events::What task) override;
  bool killed() const override { return killing_; }
  // DiskWatcher
  void on_write(const std::string& path, ByteView bytes) override;
  void on_sync(const std::string& path) override { surface_.oracle.on_sync(index_, path); }
  void on_remove(const std::string& path) override;
  void on_failure() override { failed_ = true; }

  bool due_to_crash();
  void settle();
  void arm(std::optional<TimePoint> when);
  void end_body();
  void say(std::string_view what);
  void on_log(Level level, std::string_view line);

  Surface& surface_;
  const std::string label_;
  const std::size_t index_;
  const NodeId node_;
  const Open open_;
  MachineClock clock_;
  SeededRandom random_;  // the product's
  WatchedDisk disk_;
  Log log_;
  std::unique_ptr<Body> body_;
  std::uint64_t life_ = 0;
  TimePoint armed_ = TimePoint::max();
  std::uint64_t arming_ = 0;
  TimePoint hangs_until_{};
  std::optional<End> crash_planned_;
  bool wanted_ = false, powered_ = true, ending_ = false, killing_ = false, failed_ = false;
};

}  // namespace postern::sim
