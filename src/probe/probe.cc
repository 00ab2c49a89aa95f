#include "probe/probe.h"

namespace postern {

Probe::Probe(CollectorId id, std::shared_ptr<const Source> source, Observer observer)
    : id_(id),
      source_(std::move(source)),
      observer_(std::move(observer)),
      collector_(make_collector(id)) {}

Collected Probe::collect(WallTime now) {
  if (!boot_ && id_ == CollectorId::self) boot_ = now;  // a program counts from its own start
  if (!boot_) {
    // Without it the sums go out without a start; the CPU collector reports the same file.
    if (auto boot = read_boot_time(*source_)) boot_ = *boot;
  }
  Sample sample(*source_, observer_, now, boot_);
  if (const auto done = collector_->collect(sample); !done) sample.problem(done.error());
  return sample.take();
}

bool may_block(CollectorId id) {
  switch (id) {
    case CollectorId::filesystems:         // a dead disk
    case CollectorId::remote_filesystems:  // a dead server
    case CollectorId::disks:               // a device that is just being removed
    case CollectorId::temperature:         // sensors behind slow buses
    case CollectorId::units:               // a process of its own
    case CollectorId::inventory:           // files on disk, drivers of devices
      return true;
    default:
      return false;
  }
}

}  // namespace postern
