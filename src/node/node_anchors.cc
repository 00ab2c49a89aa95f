// Whom we trust: the group's word about its anchors, taken over while it runs (document.md#G15).

#include "node/node.h"

namespace postern::node {
namespace {

constexpr Duration kAnchorsRetry = std::chrono::seconds(30);
constexpr std::chrono::seconds kStrandedSpread{5};

}  // namespace

void Node::take_anchors() {
  const auto& kept = trust_.anchors();
  if (!kept || kept->edition == anchors_in_force_ || std::exchange(anchors_under_way_, true))
    return;
  files_->post([this, alive = alive_, taken = *kept] {
    auto anchors = install_anchors(taken.list, around_.disk, settings_.state_dir);
    core_.post([this, alive, taken, anchors = std::move(anchors)] {
      if (*alive) on_anchors(taken, anchors);
    });
  });
}

void Node::on_anchors(const Trust::KeptAnchors& taken, const Result<Anchors>& anchors) {
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
  for (const std::string& line : differences(before, *anchors)) log_.info("{}", line);
  anchors_in_force_ = taken.edition;
  const WallTime now = around_.clock.wall();
  if (taken.list.leaves(credential.chain, now)) {
    if (settings_.certificates.renew)
      renewal_.hurry(now, taken.list.spread);
    else
      log_.warning(
          "the CA of our certificate is being replaced, and it is not renewed by itself: "
          "ask for another one, then: postern cert import");
    look_at_certificate();
  }
  uplink_.send(head());
  take_anchors();  // a newer word may have come meanwhile
}

/// Away while the group changed its CA: neither knows the other's. Over HTTP nobody is verified but
/// by signatures under the pinned root, so the way back leads through there (channel.md#W58).
void Node::on_refused(const std::string&, wire::Refusal reason, const std::string&) {
  if (reason != wire::Refusal::unknown_ca || !trust_.pinned() || !settings_.certificates.renew ||
      std::exchange(stranded_, true))
    return;
  renewal_.hurry(around_.clock.wall(), kStrandedSpread);
  look_at_certificate();
}

}  // namespace postern::node
