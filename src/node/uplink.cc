#include "node/uplink.h"

#include <algorithm>

#include "node/credential.h"

namespace postern::node {
namespace {

constexpr Duration kWelcomeWaitMax = std::chrono::seconds(20);  // channel.md#W20
constexpr Duration kTick = std::chrono::seconds(1);
/// A parent that breaks right behind its welcome must not be dialled every second for ever.
constexpr Duration kProvenAfter = std::chrono::seconds(30);
constexpr std::size_t kOffersPerMessage = 64;
constexpr unsigned kRepeatLogEvery = 20;  // the same failure again: one line in so many

}  // namespace

Uplink::Uplink(Loops& loops, Network& network, const Log& log, Random& random, const Self& self,
               relay::Relay& relay, Owner& owner)
    : core_(loops.core()),
      log_(log),
      self_(self),
      relay_(relay),
      owner_(owner),
      dialer_(network.make_dialer()),
      order_(random) {}

Uplink::~Uplink() {
  if (channel_) channel_->set_handler(nullptr);
}

void Uplink::set_parents(const std::vector<ParentSetting>& parents) {
  parents_ = parents;
  std::vector<std::string> names;
  for (const ParentSetting& parent : parents) names.push_back(parent.name);
  order_.set(names);
  if (channel_ && index_of_current() == parents_.size())
    channel_->close(
        fmt::format("{} is no parent of this node any more", current_.name));  // on_closed dials
  dial_when_due();
}

std::size_t Uplink::index_of_current() const {
  const auto found =
      std::find_if(parents_.begin(), parents_.end(),
                   [&](const ParentSetting& parent) { return parent.name == current_.name; });
  return static_cast<std::size_t>(found - parents_.begin());
}

void Uplink::stop(const std::string& why) {
  stopping_ = true;
  dial_timer_.cancel();
  if (channel_) channel_->close(why);
}

void Uplink::dial_when_due() {
  if (stopping_ || dialling_ || channel_ || parents_.empty()) return;
  const auto next = order_.next();
  dial_timer_ = core_.after(next.at - core_.now(), [this] { dial(); });
}

void Uplink::dial() {
  if (stopping_ || dialling_ || channel_) return;
  current_ = parents_[order_.next().index];
  dialling_ = true;
  refused_for_ = {};
  const ParentSetting& parent = current_;
  DialRequest request;
  request.host = parent.dial.host;
  request.port = parent.dial.port;
  request.name = parent.name;
  request.tls = owner_.tls();
  dialer_->dial(std::move(request), [this](DialResult result) { on_dialled(std::move(result)); });
}

void Uplink::on_dialled(DialResult result) {
  dialling_ = false;
  if (!result) {
    const DialFailure& failure = result.error();
    if (failure.refusal) owner_.on_refused(current_.name, failure.refusal->reason, failure.words);
    failed(failure.words, {});
    return;
  }
  channel_ = *result;
  ended_ = false;
  channel_->set_handler(this);
  if (stopping_) {
    channel_->close("stopping");
    return;
  }
  if (index_of_current() == parents_.size()) {
    channel_->close(
        fmt::format("{} is no parent of this node any more", current_.name));  // on_closed dials
    return;
  }
  say_hello();
}

void Uplink::say_hello() {
  const ChannelPeer& peer = channel_->peer();
  wire::pb::Hello hello = self_.hello(peer.own_tls_key, peer.exporter, core_.clock().wall());
  if (auto approval = owner_.own_approval()) *hello.mutable_approval() = *approval;
  channel_->send(message_of(wire::Type::hello, hello));
  welcome_timer_ = core_.after(kWelcomeWaitMax, [this] {
    if (channel_ && !attached_)
      channel_->close(fmt::format("{} did not answer hello within 20 s", current_.name));
  });
}

void Uplink::on_message(Channel& channel, wire::Message message) {
  if (&channel != channel_.get()) return;
  if (!attached_) {
    if (message.type == wire::Type::welcome)
      on_welcome(channel, message);
    else
      channel.refuse(wire::Refusal::protocol,
                     fmt::format("{} before welcome", wire::to_string(message.type)));
    return;
  }
  switch (message.type) {
    case wire::Type::ping: {
      if (message.bytes().size() != wire::kPingBytes) {
        channel.refuse(wire::Refusal::protocol, "a ping that is not 8 bytes long");
        return;
      }
      message.type = wire::Type::pong;
      channel.send(std::move(message));
      return;
    }
    case wire::Type::pong:
      return;
    case wire::Type::credit:
      on_credit(message);
      return;
    case wire::Type::credential:
      on_credential(message);
      return;
    case wire::Type::hello:
    case wire::Type::welcome:
    case wire::Type::batch:
    case wire::Type::offer:
      channel.refuse(wire::Refusal::protocol,
                     fmt::format("a parent does not send {}", wire::to_string(message.type)));
      return;
    default:
      owner_.on_parent_message(message);
      pump();
  }
}

void Uplink::on_welcome(Channel& channel, const wire::Message& message) {
  welcome_timer_.cancel();
  wire::pb::Welcome welcome;
  if (!welcome.ParseFromArray(message.bytes().data(), static_cast<int>(message.bytes().size()))) {
    channel.refuse(wire::Refusal::protocol, "a welcome that cannot be read");
    return;
  }
  const ChannelPeer& peer = channel.peer();
  auto neighbour = verify_welcome(welcome, peer.chain.front().mark(), peer.exporter, self_);
  if (!neighbour) {
    channel.refuse(neighbour.error().reason, neighbour.error().words);
    return;
  }
  const std::string& expected = current_.name;
  if (neighbour->name != expected) {
    channel.refuse(wire::Refusal::wrong_name,
                   fmt::format("we dialled {} and {} answers", expected, neighbour->name));
    return;
  }
  if (const auto wrong = owner_.objection_to(*neighbour)) {
    refused_for_ = wrong->retry_after;
    channel.refuse(wrong->reason, wrong->words);
    return;
  }
  for (const auto& hop : welcome.path())
    if (node_id_of_field(hop.node_id()) == self_.id) {
      // Rule P5: a way to the server that leads through ourselves is none.
      refused_for_ = std::chrono::seconds(30);
      channel.refuse(wire::Refusal::loop,
                     fmt::format("the path of {} leads through {}", expected, self_.name));
      return;
    }
  attached_ = true;
  path_.assign(welcome.path().begin(), welcome.path().end());
  if (welcome.head_interval_ms() >= 1000)
    head_interval_ = std::chrono::milliseconds(welcome.head_interval_ms());
  channel.raise_limit();
  attached_at_ = core_.now();
  proven_ = false;
  last_words_.clear();
  last_failure_.clear();
  same_words_ = 0;
  liveness_.start(core_.now());
  relay_.on_attached(neighbour->id);
  std::array<std::uint64_t, 3> credit{};
  for (int i = 0; i < 3 && i < welcome.credit_size(); ++i)
    credit[static_cast<std::size_t>(i)] = welcome.credit(i);
  relay_.on_credit(credit);
  log_.info("attached to {} {} at {}", to_string(neighbour->role), expected, peer.address);
  neighbour_ = std::move(*neighbour);
  shown_ = peer.chain.front();
  // The handshake may have begun before the last renewal.
  if (const auto& ours = owner_.tls()->credential();
      ours && peer.own_tls_key != ours->key.spki_sha256())
    show_credential();
  owner_.on_attached(welcome);
  tick_timer_ = core_.after(kTick, [this] { tick(); });
  pump();
}

void Uplink::on_credit(const wire::Message& message) {
  Reader in(message.bytes());
  std::array<std::uint64_t, 3> totals{};
  for (auto& total : totals) total = in.u64();
  if (!in.exhausted()) {
    channel_->refuse(wire::Refusal::protocol, "a credit that cannot be read");
    return;
  }
  relay_.on_credit(totals);
  pump();
}

void Uplink::show_credential() {
  const auto& ours = owner_.tls()->credential();
  if (attached_ && ours)
    channel_->send(
        credential_message(self_, *ours, channel_->peer().exporter, true, core_.clock().wall()));
  if (channel_ || dialling_ || parents_.empty()) return;
  // What a parent has refused may have been the certificate: all of them are asked at once.
  order_.set({});
  set_parents(std::vector(parents_));
}

void Uplink::on_credential(const wire::Message& message) {
  wire::pb::Credential credential;
  if (!credential.ParseFromArray(message.bytes().data(),
                                 static_cast<int>(message.bytes().size()))) {
    channel_->refuse(wire::Refusal::protocol, "a credential that cannot be read");
    return;
  }
  auto shown = verify_credential(credential, *neighbour_, channel_->peer().exporter, true,
                                 *owner_.tls(), self_);
  std::optional<Refusal> wrong;
  Neighbour renewed = *neighbour_;
  if (shown) {
    renewed.certificate = shown->chain.front().mark();
    wrong = owner_.objection_to(renewed);
  } else {
    wrong = shown.error();
  }
  if (wrong) {
    channel_->refuse(wrong->reason, wrong->words);
    return;
  }
  neighbour_ = std::move(renewed);
  shown_ = shown->chain.front();
  log_.info("{} {} shows a renewed certificate, valid until {}", to_string(neighbour_->role),
            neighbour_->name, to_rfc3339(shown_->not_after()));
}

void Uplink::refuse_denied() {
  if (!attached_) return;
  if (const auto wrong = owner_.objection_to(*neighbour_))
    channel_->refuse(wrong->reason, wrong->words);
}

void Uplink::pump() {
  if (!attached_) return;
  while (true) {
    const auto offers = relay_.take_offers(kOffersPerMessage);
    if (offers.empty()) break;
    channel_->send(wire::make_message(wire::Type::offer, wire::encode_coverages(offers)));
  }
  while (channel_->queued_bytes() < kDrainedBelowBytes) {
    const relay::Held* held = relay_.next(core_.now());
    if (held == nullptr) break;
    if (!held->message) {
      owner_.read_from_spool(*held);
      continue;
    }
    wire::Message message;
    message.type = wire::Type::batch;
    message.lane = static_cast<std::uint8_t>(held->stream.lane);
    message.body = held->message;
    channel_->send(std::move(message));
  }
  if (relay_.wake_at() != TimePoint::max())
    wake_timer_ = core_.after(relay_.wake_at() - core_.now(), [this] { pump(); });
}

bool Uplink::send(wire::Message message) {
  if (!attached_) return false;
  channel_->send(std::move(message));
  return true;
}

void Uplink::tick() {
  if (!attached_) return;
  tick_timer_ = core_.after(kTick, [this] { tick(); });
  if (!proven_ && core_.now() - attached_at_ >= kProvenAfter) {
    proven_ = true;
    order_.attached(index_of_current());
  }
  if (const auto over =
          refusal_for_age(*neighbour_, *shown_, owner_.expiry_grace(), owner_.tls()->now())) {
    channel_->refuse(over->reason, over->words);
    return;
  }
  switch (liveness_.step(core_.now(), channel_->last_received(), relay_.waiting_for_answers())) {
    case relay::Liveness::Action::nothing:
      return;
    case relay::Liveness::Action::ping:
      channel_->send(wire::make_message(wire::Type::ping, Bytes(8)));
      return;
    case relay::Liveness::Action::give_up:
      channel_->close(fmt::format("{} is silent: three pings without any answer", current_.name));
      return;
  }
}

void Uplink::on_drained(Channel&) { pump(); }

void Uplink::on_refused(Channel&, const RefusalNotice& notice) {
  const std::string& parent = current_.name;
  const char* reason = wire::to_string(notice.reason);
  const bool about_time = notice.reason == wire::Refusal::expired ||
                          notice.reason == wire::Refusal::not_yet_valid ||
                          notice.reason == wire::Refusal::issuer_expired ||
                          notice.reason == wire::Refusal::issuer_not_yet_valid;
  std::string words =
      notice.by_us ? fmt::format("we refused {}: {} ({})", parent, notice.words, reason)
                   : fmt::format("{} refuses this node: {} ({})", parent, notice.words, reason);
  if (about_time && !notice.by_us) words += "; its clock says " + to_rfc3339(notice.time);
  refused_for_ = notice.retry_after;
  owner_.on_refused(parent, notice.reason, words);
  end(words);
}

void Uplink::on_closed(Channel& channel, const Error& why) {
  if (&channel != channel_.get()) return;
  end(why.message);
  channel_.reset();
  dial_when_due();
}

/// The connection is over for us; on_closed may come later.
void Uplink::end(const std::string& why) {
  if (std::exchange(ended_, true)) return;
  welcome_timer_.cancel();
  tick_timer_.cancel();
  wake_timer_.cancel();
  if (attached_) {
    attached_ = false;
    path_.clear();
    last_failure_ = why;
    relay_.on_detached();
    if (!stopping_) log_.warning("lost the parent {}: {}", current_.name, why);
    order_.lost(index_of_current(), core_.now());
    owner_.on_detached(why);
    return;
  }
  failed(why, refused_for_);
}

void Uplink::failed(const std::string& words, Duration retry_after) {
  last_failure_ = words;
  if (words == last_words_) {
    ++same_words_;
  } else {
    last_words_ = words;
    same_words_ = 0;
  }
  if (!stopping_ && same_words_ % kRepeatLogEvery == 0) log_.warning("no parent: {}", words);
  order_.failed(index_of_current(), core_.now(), retry_after);
  if (!channel_) dial_when_due();
}

}  // namespace postern::node
