#include "node/host_events.h"

namespace postern::node {
namespace {

constexpr Duration kReadInterval = std::chrono::seconds(1);
constexpr Duration kRetry = std::chrono::seconds(1);

Resource resource_of(const Self& self) {
  return {{{"service.name", std::string("postern-") + to_string(self.role)},
           {"service.version", std::string(kSoftware + sizeof("postern ") - 1)},
           {"host.name", self.name},
           {"postern.node.id", self.id.hex()}}};
}

}  // namespace

HostEvents::HostEvents(Loop& core, const Log& log, Door& door,
                       std::unique_ptr<events::Reader> reader, std::unique_ptr<Worker> worker)
    : core_(core), log_(log), door_(door), reader_(std::move(reader)), worker_(std::move(worker)) {
  timer_ = core_.after(Duration{}, [this] { collect(); });
}

HostEvents::~HostEvents() { *alive_ = false; }

void HostEvents::collect() {
  if (!door_.takes_events()) {
    timer_ = core_.after(kRetry, [this] { collect(); });
    return;
  }
  worker_->post([this, alive = alive_] {
    auto batch = reader_->collect(core_.now(), core_.clock().wall());
    core_.post([this, alive, batch = std::move(batch)]() mutable {
      if (!*alive) return;
      payload_ = std::move(batch.payload);
      if (payload_) return intend();
      timer_ = core_.after(batch.more ? Duration{} : kReadInterval, [this] { collect(); });
    });
  });
}

void HostEvents::intend() {
  const auto number = door_.takes_events() ? door_.reserve_event() : std::nullopt;
  if (number) return write(*number);
  timer_ = core_.after(kRetry, [this] { intend(); });
}

void HostEvents::write(events::BatchNumber batch) {
  worker_->post([this, alive = alive_, batch] {
    auto written = reader_->write_intent(batch);
    core_.post([this, alive, batch, written = std::move(written)] {
      if (!*alive) return;
      if (!written) {
        if (!told_)
          log_.error("events wait, how far they were read cannot be written down: {}",
                     written.error().message);
        told_ = true;
        timer_ = core_.after(kRetry, [this, batch] { write(batch); });
        return;
      }
      told_ = false;
      sealing_ = true;
      door_.seal_event(*payload_);
      payload_.reset();
    });
  });
}

void HostEvents::on_durable() {
  if (!sealing_) return;
  sealing_ = false;
  worker_->post([this] { reader_->sealed(); });
  collect();
}

std::unique_ptr<EventFeed> HostEventFeeds::start(Loop& core, const Log& log, const Self& self,
                                                 const NodeSettings& settings,
                                                 EventFeed::Door& door) {
  const auto path = events::state_file(settings.state_dir);
  auto read = events::read_state_file(disk_, path);
  events::StateFile state;
  bool everything = false;
  if (read && *read) {
    state = std::move(**read);
    state.resolve(state.intent && door.was_sealed(state.intent->batch));
  } else if (!read && read.error().code == Errc::corrupt) {
    log.error("{}: all that is configured is read from its beginning, some of it once more",
              read.error().message);
    everything = true;
  } else if (!read) {
    log.error("events are not read until the next start: {}", read.error().message);
    return nullptr;
  }
  auto sources = std::make_unique<events::HostSources>(log, settings.events, everything);
  auto reader =
      std::make_unique<events::Reader>(disk_, path, log, resource_of(self), std::move(sources),
                                       std::move(state), settings.events.records_per_second_max);
  return std::make_unique<HostEvents>(core, log, door, std::move(reader), workers_.start("events"));
}

}  // namespace postern::node
