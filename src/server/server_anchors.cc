// Whom this server trusts to name nodes: what the group has said last, also by another server
// (document.md#G15).

#include "server/server.h"

namespace postern {
namespace {

constexpr Duration kAnchorsRetry = std::chrono::seconds(30);

}  // namespace

void Server::take_anchors() {
  const auto& kept = trust_.anchors();
  if (!kept || kept->edition == anchors_in_force_ || std::exchange(anchors_under_way_, true))
    return;
  store_thread_->post([this, alive = alive_, taken = *kept] {
    auto anchors = node::install_anchors(taken.list, around_.disk, settings_.state_dir);
    core_.post([this, alive, taken, anchors = std::move(anchors)] {
      if (*alive) on_anchors(taken, anchors);
    });
  });
}

void Server::on_anchors(const node::Trust::KeptAnchors& taken, const Result<Anchors>& anchors) {
  anchors_under_way_ = false;
  const TlsCredential credential = *tls_->credential();
  const auto in_use = [&] { return tls_->anchors().certificates() == anchors->certificates(); };
  const Anchors before = tls_->anchors();
  if (anchors && !in_use()) use(credential, *anchors);
  if (!anchors || !in_use()) {
    log_.error("the group's anchors are not taken over, trying again{}{}", anchors ? "" : ": ",
               anchors ? "" : anchors.error().message);
    anchors_timer_ = core_.after(kAnchorsRetry, [this] { take_anchors(); });
    return;
  }
  for (const std::string& line : node::differences(before, *anchors)) log_.info("{}", line);
  anchors_in_force_ = taken.edition;
  const WallTime now = around_.clock.wall();
  if (taken.list.leaves(credential.chain, now)) {
    renewal_.hurry(now, {});  // first of all: it is the one whom everybody meets
    look_at_certificate();
  }
  take_anchors();  // a newer word may have come meanwhile
}

}  // namespace postern
