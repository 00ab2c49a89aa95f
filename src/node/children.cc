#include "node/children.h"

#include <algorithm>

#include "wire/document.pb.h"

namespace postern::node {
namespace {

/// A child that does not read what it is told must not fill our memory.
constexpr std::size_t kUnreadBytesMax = 8u << 20;
constexpr std::uint32_t kDelegationType = 1;  // document.md#G10
constexpr int kWelcomeDocumentsMax = 32;
constexpr Duration kDecisionWaitMax = std::chrono::seconds(15);
constexpr Duration kSweep = std::chrono::seconds(15);
/// The child pings after 45 s of silence (rule C7); three of those and some, and it is gone.
constexpr Duration kSilenceMax = std::chrono::seconds(150);

}  // namespace

class Children::Session final : public ChannelHandler, public Child {
 public:
  Session(Children& children, std::shared_ptr<Channel> channel)
      : children_(children), channel_(std::move(channel)) {
    channel_->set_handler(this);
  }
  ~Session() override { channel_->set_handler(nullptr); }

  // ---- Child
  const Neighbour& who() const override { return candidate_.who; }
  const ChannelPeer& peer() const override { return channel_->peer(); }
  const Certificate& certificate() const override {
    return renewed_ ? *renewed_ : peer().chain.front();
  }
  std::uint64_t channel_id() const override { return channel_->id(); }
  void send(wire::Message message) override;
  void taken(wire::Lane lane, std::size_t message_bytes) override;
  void wants(wire::Lane lane) override;
  std::optional<std::uint64_t> highest(const wire::StreamKey& stream) const override {
    const auto found = highest_.find(stream);
    return found == highest_.end() ? std::nullopt : std::optional(found->second);
  }
  std::vector<wire::StreamKey> offered() const override {
    std::vector<wire::StreamKey> all;
    for (const auto& [stream, sequence] : highest_) all.push_back(stream);
    return all;
  }
  bool may_repeat(TimePoint now) override {
    if (now < repeat_at_) return false;
    repeat_at_ = now + kRepeatedEvery;
    return true;
  }
  void answer(const wire::StreamKey& stream, std::uint64_t sequence, const Digest& hash,
              std::uint32_t verdict, const std::string& words,
              std::chrono::milliseconds retry_after, ByteView evidence) override;

  // ---- ChannelHandler
  void on_message(Channel& channel, wire::Message message) override;
  void on_refused(Channel& channel, const RefusalNotice& notice) override;
  void on_closed(Channel& channel, const Error& why) override;

  void refuse(const Refusal& refusal);
  void welcome(const Admitted& admitted);
  /// How words name it: as its hello does, before that as its certificate does.
  std::string shown_name() const {
    return candidate_.who.name.empty() ? peer().chain.front().subject() : candidate_.who.name;
  }
  void grant(const relay::CreditBook::Totals& totals);
  Channel& channel() { return *channel_; }
  const Candidate& candidate() const { return candidate_; }
  /// Only admission needs it; an idle child should not cost its memory.
  void forget_hello() { candidate_.hello = {}; }
  bool attached() const { return state_ == State::attached; }
  /// This one took over from `older`, which closes when this one has answered a ping (W25).
  void supersedes(std::optional<std::uint64_t> older) { older_ = older; }
  std::optional<std::uint64_t> older() const { return older_; }
  const std::map<wire::StreamKey, std::uint64_t>& streams() const { return highest_; }

 private:
  enum class State { hello, deciding, attached, closing };
  void on_hello(const wire::Message& message);
  void decided(Decision decision);
  void on_batch(const wire::Message& message);
  void on_offer(const wire::Message& message);
  void on_credential(const wire::Message& message);
  bool note(const wire::StreamKey& stream, std::uint64_t sequence);

  TimePoint repeat_at_{};
  Children& children_;
  std::shared_ptr<Channel> channel_;
  State state_ = State::hello;
  Candidate candidate_;
  std::map<wire::StreamKey, std::uint64_t> highest_;
  std::optional<std::uint64_t> older_;
  std::optional<Certificate> renewed_;  // shown since the handshake
};

void Children::Session::on_message(Channel&, wire::Message message) {
  if (state_ == State::closing) return;
  if (state_ == State::deciding) {
    refuse({wire::Refusal::protocol,
            fmt::format("{} between hello and welcome", wire::to_string(message.type))});
    return;
  }
  if (state_ == State::hello) {
    if (message.type == wire::Type::hello)
      on_hello(message);
    else
      refuse(
          {wire::Refusal::protocol, fmt::format("{} before hello", wire::to_string(message.type))});
    return;
  }
  switch (message.type) {
    case wire::Type::ping:
      if (message.bytes().size() != wire::kPingBytes) {
        refuse({wire::Refusal::protocol, "a ping that is not 8 bytes long"});
        return;
      }
      message.type = wire::Type::pong;
      send(std::move(message));
      return;
    case wire::Type::pong:
      children_.end_superseded(*this);
      children_.on_pong(*this, message.bytes());
      return;
    case wire::Type::batch:
      on_batch(message);
      return;
    case wire::Type::offer:
      on_offer(message);
      return;
    case wire::Type::head:
    case wire::Type::request:
    case wire::Type::reply:
    case wire::Type::notice:
    case wire::Type::presence:
    case wire::Type::settled:   // evidence (W34), believed by its signature alone
    case wire::Type::document:  // likewise (W35)
      children_.owner_.on_child_message(*this, message);
      return;
    case wire::Type::credential:
      return on_credential(message);
    default:
      // Parent, failover and configuration never come from a child (rule T5).
      refuse({wire::Refusal::protocol,
              fmt::format("a child does not send {}", wire::to_string(message.type))});
  }
}

void Children::Session::send(wire::Message message) {
  if (state_ == State::closing) return;
  channel_->send(std::move(message));
  if (channel_->queued_bytes() <= kUnreadBytesMax) return;
  refuse({wire::Refusal::busy,
          fmt::format("it does not read: more than {} bytes wait for it", kUnreadBytesMax)});
}

void Children::Session::on_hello(const wire::Message& message) {
  wire::pb::Hello hello;
  if (!hello.ParseFromArray(message.bytes().data(), static_cast<int>(message.bytes().size()))) {
    refuse({wire::Refusal::protocol, "a hello that cannot be read"});
    return;
  }
  candidate_.hello = hello;
  candidate_.address = peer().address;
  candidate_.chain = peer().chain;
  candidate_.exporter = peer().exporter;
  candidate_.who.name = hello.name();
  const Certificate& leaf = peer().chain.front();
  if (!name_matches(leaf, hello.name())) {
    std::string names;
    for (const std::string& name : leaf.dns_names()) names += (names.empty() ? "" : ", ") + name;
    refuse({wire::Refusal::wrong_name,
            fmt::format("it calls itself {}, its certificate is for {}; set name in its "
                        "configuration or import the "
                        "certificate of that name",
                        hello.name(), names.empty() ? "no DNS name" : names)});
    return;
  }
  auto who = verify_hello(hello, leaf.mark(), peer().exporter, children_.self_);
  if (!who) {
    refuse(who.error());
    return;
  }
  candidate_.who = std::move(*who);
  if (hello.claim() != 1) {
    refuse({wire::Refusal::not_a_parent,
            fmt::format(
                "{} claims to be the parent of {}, which did not name it as one that initiates",
                hello.name(), children_.self_.name),
            std::chrono::minutes(5)});
    return;
  }
  if (candidate_.who.id == children_.self_.id) {
    refuse({wire::Refusal::loop,
            "it has this node's own identity: a copied state folder, or a parent list that leads "
            "back here"});
    return;
  }
  for (const auto& hop : children_.owner_.path())
    if (node_id_of_field(hop.node_id()) == candidate_.who.id) {
      refuse({wire::Refusal::loop, fmt::format("{} stands in the path of {} to the server",
                                               hello.name(), children_.self_.name)});
      return;
    }
  if (children_.attached_.size() >= kChildrenMax) {
    refuse(
        {wire::Refusal::busy, fmt::format("{} children are connected, the limit", kChildrenMax)});
    return;
  }
  state_ = State::deciding;
  if (children_.port_) children_.port_->extend(*channel_, kDecisionWaitMax);
  std::uint64_t hash;
  std::memcpy(&hash, candidate_.who.id.bytes.data(), sizeof(hash));
  channel_->settle_on(hash);  // rule C2: k is 0
  // The session may be gone when the answer comes: it is found again by its channel's number.
  children_.owner_.admit(candidate_,
                         [&children = children_, id = channel_->id()](Decision decision) {
                           const auto session = children.sessions_.find(id);
                           if (session != children.sessions_.end())
                             session->second->decided(std::move(decision));
                         });
}

void Children::Session::decided(Decision decision) {
  if (state_ != State::deciding) return;
  if (!decision) {
    refuse(decision.error());
    return;
  }
  if (!children_.ask_for_twin(*this, *decision)) welcome(*decision);
}

void Children::Session::welcome(const Admitted& admitted) {
  if (state_ != State::deciding) return;
  const Self& self = children_.self_;
  const WallTime now = children_.core_.clock().wall();
  wire::pb::Welcome welcome;
  welcome.set_version(kVersionMax);
  welcome.set_group(self.group);
  welcome.set_role(static_cast<std::uint32_t>(self.role));
  welcome.set_name(self.name);
  welcome.set_identity_key(field_of(self.identity.public_key().spki()));
  *welcome.mutable_statement() = self.statement(peer().own_tls_key, now);
  welcome.set_proof(self.proof(peer().exporter, false));
  welcome.set_incarnation(self.incarnation);
  for (auto& hop : children_.owner_.path()) *welcome.add_path() = std::move(hop);
  welcome.set_head_interval_ms(static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(children_.owner_.head_interval())
          .count()));
  welcome.set_standby_proof_interval_ms(3'600'000);
  for (const std::uint64_t total : children_.credit_.on_child(channel_->id()))
    welcome.add_credit(total);
  // Welcome has room for little (W11): what may be large follows it.
  std::vector<const wire::pb::Signed*> afterwards;
  for (const auto& document : admitted.documents) {
    wire::pb::DocumentBody body;
    const bool delegation = body.ParseFromString(document.body()) && body.type() == kDelegationType;
    if (delegation && welcome.documents_size() < kWelcomeDocumentsMax)
      *welcome.add_documents() = document;
    else
      afterwards.push_back(&document);
  }
  if (admitted.approval) *welcome.add_documents() = *admitted.approval;
  welcome.set_time_ms(to_ms(now));
  welcome.set_software(kSoftware);
  channel_->raise_limit();  // the child may send full-sized batches as soon as it has read this
  channel_->send(message_of(wire::Type::welcome, welcome));
  for (const wire::pb::Signed* document : afterwards)
    channel_->send(message_of(wire::Type::document, *document));
  if (children_.port_) children_.port_->authenticated(*channel_);
  state_ = State::attached;
  children_.attached(*this);
}

void Children::Session::taken(wire::Lane lane, std::size_t message_bytes) {
  if (const auto totals = children_.credit_.on_taken(channel_->id(), lane, message_bytes))
    grant(*totals);
  children_.send_grants();
}

void Children::Session::wants(wire::Lane lane) {
  children_.credit_.wants(channel_->id(), lane);
  children_.send_grants();
}

void Children::Session::grant(const relay::CreditBook::Totals& totals) {
  Writer out;
  for (const std::uint64_t total : totals) out.u64(total);
  channel_->send(wire::make_message(wire::Type::credit, out.take()));
}

void Children::Session::answer(const wire::StreamKey& stream, std::uint64_t sequence,
                               const Digest& hash, std::uint32_t verdict, const std::string& words,
                               std::chrono::milliseconds retry_after, ByteView evidence) {
  Writer key;
  stream.write(key);
  wire::pb::Answer answer;
  answer.set_stream(field_of(key.written()));
  answer.set_sequence(sequence);
  answer.set_hash(field_of(hash));
  answer.set_verdict(verdict);
  answer.set_words(words);
  answer.set_retry_after_ms(static_cast<std::uint32_t>(retry_after.count()));
  answer.set_evidence(field_of(evidence));
  channel_->send(message_of(wire::Type::answer, answer));
}

bool Children::Session::note(const wire::StreamKey& stream, std::uint64_t sequence) {
  if (who().role == Role::agent && stream.node != who().id) {
    refuse({wire::Refusal::protocol,
            fmt::format("an agent sends its own streams, not {}", stream.text())});
    return false;
  }
  const auto found = highest_.find(stream);
  if (found != highest_.end()) {
    found->second = std::max(found->second, sequence);
    return true;
  }
  if (highest_.size() >= kStreamsPerChildMax) {
    refuse({wire::Refusal::busy,
            fmt::format("more than {} streams by one connection", kStreamsPerChildMax)});
    return false;
  }
  highest_[stream] = sequence;
  children_.offered_[stream].push_back(channel_->id());
  return true;
}

void Children::Session::on_credential(const wire::Message& message) {
  wire::pb::Credential credential;
  if (!credential.ParseFromArray(message.bytes().data(),
                                 static_cast<int>(message.bytes().size()))) {
    refuse({wire::Refusal::protocol, "a credential that cannot be read"});
    return;
  }
  auto shown = verify_credential(credential, who(), peer().exporter, false, children_.owner_.tls(),
                                 children_.self_);
  if (!shown) {
    refuse(shown.error());
    return;
  }
  Neighbour renewed = who();
  renewed.certificate = shown->chain.front().mark();
  if (const auto objection = children_.owner_.objection_to(renewed)) {
    refuse(*objection);
    return;
  }
  candidate_.who.certificate = std::move(renewed.certificate);
  renewed_ = shown->chain.front();
  children_.log_.info("{} {} shows a renewed certificate, valid until {}", to_string(who().role),
                      who().name, to_rfc3339(renewed_->not_after()));
  children_.owner_.on_credential(*this);
}

void Children::Session::on_batch(const wire::Message& message) {
  auto stamped = wire::read_stamped(message.bytes());
  auto batch = stamped ? wire::read_batch(stamped->body) : std::unexpected(stamped.error());
  if (!batch) {
    refuse({wire::Refusal::protocol, batch.error().message});
    return;
  }
  const wire::BatchHeader& header = batch->header;
  if (static_cast<std::uint8_t>(header.stream.lane) != message.lane) {
    refuse({wire::Refusal::protocol, fmt::format("a batch of lane {} on lane {}",
                                                 to_string(header.stream.lane), message.lane)});
    return;
  }
  if (!children_.credit_.on_received(channel_->id(), header.stream.lane, message.bytes().size())) {
    refuse({wire::Refusal::protocol,
            fmt::format("more than its credit on lane {}", to_string(header.stream.lane))});
    return;
  }
  if (!note(header.stream, header.sequence)) return;
  children_.owner_.on_batch(*this, *stamped, *batch, message.body);
}

void Children::Session::on_offer(const wire::Message& message) {
  auto offers = wire::decode_coverages(message.bytes());
  if (!offers) {
    refuse({wire::Refusal::protocol, offers.error().message});
    return;
  }
  for (const wire::Coverage& offer : *offers)
    if (!note(offer.stream, offer.intervals.empty() ? 0 : offer.intervals.back().last)) return;
  children_.owner_.on_offer(*this, *offers);
}

void Children::Session::refuse(const Refusal& refusal) {
  if (state_ == State::closing) return;
  state_ = State::closing;  // closed() takes it out of the tables
  children_.note_refusal(peer().address, shown_name(),
                         {refusal.reason, refusal.words, {}, refusal.retry_after, {}, true});
  channel_->refuse(refusal.reason, refusal.words, refusal.retry_after);
}

void Children::Session::on_refused(Channel&, const RefusalNotice& notice) {
  children_.note_refusal(peer().address, shown_name(), notice);
}

void Children::Session::on_closed(Channel&, const Error& why) {
  children_.closed(*this, why.message);
}

Children::Children(Loops& loops, const Log& log, const Self& self, Owner& owner,
                   relay::CreditBook::Limits credit)
    : core_(loops.core()), log_(log), self_(self), owner_(owner), credit_(credit) {
  sweep_timer_ = core_.after(kSweep, [this] { sweep(); });
}

Children::~Children() = default;

Result<> Children::listen(Network& network, std::shared_ptr<const TlsContext> tls,
                          const PortOptions& options) {
  if (const auto& ours = tls->credential()) shown_ = ours->chain.front();
  auto port = network.listen(std::move(tls), *this, options);
  if (!port) return std::unexpected(port.error());
  port_ = std::move(*port);
  return {};
}

void Children::on_channel(std::shared_ptr<Channel> channel) {
  const std::uint64_t id = channel->id();
  sessions_[id] = std::make_unique<Session>(*this, std::move(channel));
}

void Children::on_refused(const RefusedPeer& peer) {
  // What cannot be read is named by the words about it, each once.
  const bool unreadable = peer.notice.reason == wire::Refusal::malformed;
  const std::string name = !peer.chain.empty() ? peer.chain.front().subject()
                           : unreadable        ? "a peer with an unreadable certificate"
                                               : "a peer without a certificate";
  note_refusal(peer.address, name, peer.notice, unreadable ? peer.notice.words : "");
}

void Children::note_refusal(const std::string& address, const std::string& name,
                            const RefusalNotice& notice, const std::string& detail) {
  refused_ += notice.by_us ? 1 : 0;
  const std::string who = name.empty() ? "a peer" : name;
  const TimePoint now = core_.now();
  if (refusals_logged_.size() > kRefusalsRememberedMax) refusals_logged_.clear();
  const auto [logged, is_new] =
      refusals_logged_.try_emplace({who + detail, notice.reason, notice.by_us}, now);
  if (!is_new && now - logged->second < kRefusalLoggedEvery) return;
  logged->second = now;
  const char* reason = wire::to_string(notice.reason);
  if (notice.by_us)
    log_.warning("refused {} at {}: {} ({})", who, address, notice.words, reason);
  else
    log_.warning("{} at {} refuses us: {} ({}; its clock says {})", who, address, notice.words,
                 reason, to_rfc3339(notice.time));
}

void Children::on_http(HttpRequest request, Respond respond) {
  owner_.on_http(std::move(request), std::move(respond));
}

void Children::attached(Session& session) {
  const NodeId id = session.who().id;
  const auto older = attached_.find(id);
  if (older != attached_.end()) {
    // Two of one node at a time: one that never answers pings must not collect connections.
    end_superseded(*older->second);
    session.supersedes(older->second->channel().id());
    session.channel().send(wire::make_message(wire::Type::ping, Bytes(8)));
  }
  attached_[id] = &session;
  log_.info("{} {} attached from {} ({})", to_string(session.who().role), session.who().name,
            session.peer().address, id.hex());
  // The handshake may have begun before the last renewal.
  if (const auto& ours = owner_.tls().credential();
      ours && session.peer().own_tls_key != ours->key.spki_sha256())
    session.send(
        credential_message(self_, *ours, session.peer().exporter, false, core_.clock().wall()));
  owner_.on_child(session, session.candidate());
  session.forget_hello();
}

void Children::closed(Session& session, const std::string& why) {
  const std::uint64_t channel = session.channel().id();
  credit_.gone(channel);
  for (const auto& [stream, highest] : session.streams()) {
    const auto found = offered_.find(stream);
    if (found == offered_.end()) continue;
    std::erase(found->second, channel);
    if (found->second.empty()) offered_.erase(found);
  }
  const auto current = attached_.find(session.who().id);
  if (current != attached_.end() && current->second == &session) {
    if (Session* older = still_attached(session.older())) {
      // It never answered a ping: the one it wanted to take over from is still the node's (W25).
      current->second = older;
      log_.info("{} at {} ended before it took over from {}: {}", session.who().name,
                session.peer().address, older->peer().address, why);
      owner_.on_child(*older, older->candidate());
    } else {
      attached_.erase(current);
      if (!stopping_)
        log_.info("{} at {} is gone: {}", session.who().name, session.peer().address, why);
      owner_.on_child_gone(session, why);
    }
  } else if (current != attached_.end()) {
    // Whoever was to take over from this one takes over from the one before it.
    for (Session* newer = current->second; newer != nullptr; newer = session_of(newer->older()))
      if (newer->older() == channel) newer->supersedes(session.older());
  }
  twins_.erase(channel);
  std::vector<std::uint64_t> waited;
  for (const auto& [newer, twin] : twins_)
    if (twin.other == channel) waited.push_back(newer);
  for (const std::uint64_t newer : waited) no_twin(newer);
  send_grants();
  // Not inside its own callback.
  auto keep = std::move(sessions_.at(channel));
  sessions_.erase(channel);
  core_.post([keep = std::move(keep)] {});
}

/// Another process than the one that is connected: a restart whose end we have not heard of yet, or
/// a second machine with the same state folder. Whoever is connected is asked.
bool Children::ask_for_twin(Session& newer, const Admitted& admitted) {
  const auto found = attached_.find(newer.who().id);
  if (found == attached_.end() || found->second->who().incarnation == newer.who().incarnation)
    return false;
  Session& other = *found->second;
  const std::uint64_t channel = newer.channel().id();
  if (port_) port_->extend(newer.channel(), kDecisionWaitMax);
  Writer question;
  question.u64(channel);
  twins_[channel] = {other.channel().id(), admitted,
                     core_.after(kTwinAnswerMax, [this, channel] { no_twin(channel); })};
  other.send(wire::make_message(wire::Type::ping, question.take()));
  return true;
}

/// It lives, so the newer one is a second machine.
void Children::on_pong(Session& session, ByteView bytes) {
  if (twins_.empty() || bytes.size() != wire::kPingBytes) return;
  const auto found = twins_.find(Reader(bytes).u64());
  if (found == twins_.end() || found->second.other != session.channel().id()) return;
  Session* newer = session_of(found->first);
  twins_.erase(found);
  if (newer == nullptr) return;
  const TimePoint now = core_.now();
  if (twins_told_.size() >= kRefusalsRememberedMax)
    std::erase_if(twins_told_, [&](const auto& one) { return now - one.second >= kTwinToldEvery; });
  const auto told = twins_told_.find(session.who().id);
  if ((told == twins_told_.end() || now - told->second >= kTwinToldEvery) &&
      twins_told_.size() < kRefusalsRememberedMax) {
    twins_told_[session.who().id] = now;
    log_.error(
        "a second machine has the identity of {}: it came from {}, and the one that is connected "
        "from {} answers; a copied state folder",
        session.who().name, newer->peer().address, session.peer().address);
    owner_.on_twin(session, newer->candidate());
  }
  newer->refuse({wire::Refusal::clash,
                 fmt::format("another machine with the identity of {} is connected from {}, and "
                             "answers: a copied state folder; stop one of them, and set it up anew "
                             "with an empty state folder",
                             session.who().name, session.peer().address),
                 std::chrono::minutes(1)});
}

/// The one before it is gone, or does not answer.
void Children::no_twin(std::uint64_t newer) {
  const auto found = twins_.find(newer);
  if (found == twins_.end()) return;
  const Admitted admitted = std::move(found->second.admitted);
  twins_.erase(found);
  if (Session* session = session_of(newer)) session->welcome(admitted);
}

Children::Session* Children::session_of(std::optional<std::uint64_t> channel) {
  const auto found = channel ? sessions_.find(*channel) : sessions_.end();
  return found == sessions_.end() ? nullptr : found->second.get();
}

/// `channel`, or the nearest one that it took over from, which still serves its node.
Children::Session* Children::still_attached(std::optional<std::uint64_t> channel) {
  Session* session = session_of(channel);
  while (session != nullptr && !session->attached()) session = session_of(session->older());
  return session;
}

/// The newer connection has answered a ping: those before it close (W25).
void Children::end_superseded(Session& newer) {
  Session* older = session_of(newer.older());
  newer.supersedes(std::nullopt);
  while (older != nullptr) {
    Session* before = session_of(older->older());
    older->refuse({wire::Refusal::superseded, "a newer connection of this node took over"});
    older = before;
  }
}

void Children::set_tls(std::shared_ptr<const TlsContext> tls) {
  const std::optional<TlsCredential> ours = tls->credential();
  if (port_) port_->set_tls(std::move(tls));
  if (!ours || shown_ == ours->chain.front()) return;
  shown_ = ours->chain.front();
  for (const auto& [id, session] : sessions_)
    if (session->attached())
      session->send(
          credential_message(self_, *ours, session->peer().exporter, false, core_.clock().wall()));
}

void Children::sweep() {
  sweep_timer_ = core_.after(kSweep, [this] { sweep(); });
  for (const auto& [id, session] : sessions_) {
    if (!session->attached()) continue;
    if (core_.now() - session->channel().last_received() > kSilenceMax)
      session->channel().close("silent for 150 s");
    else if (const auto over = refusal_for_age(session->who(), session->certificate(),
                                               owner_.expiry_grace(), owner_.tls().now()))
      session->refuse(*over);
  }
}

void Children::set_full(bool full) {
  credit_.set_full(full);
  send_grants();
}

void Children::send_grants() {
  for (const auto& grant : credit_.take_grants()) {
    const auto session = sessions_.find(grant.channel);
    if (session != sessions_.end()) session->second->grant(grant.totals);
  }
}

Child* Children::find(const NodeId& id) {
  const auto found = attached_.find(id);
  return found == attached_.end() ? nullptr : found->second;
}

Child* Children::by_channel(std::uint64_t channel_id) {
  const auto found = sessions_.find(channel_id);
  return found == sessions_.end() || !found->second->attached() ? nullptr : found->second.get();
}

void Children::for_each(const std::function<void(Child&)>& visit) {
  for (const auto& [id, session] : sessions_)
    if (session->attached()) visit(*session);
}

void Children::for_each_of(const wire::StreamKey& stream,
                           const std::function<void(Child&)>& visit) {
  const auto found = offered_.find(stream);
  if (found == offered_.end()) return;
  for (const std::uint64_t channel : found->second) {
    const auto session = sessions_.find(channel);
    if (session != sessions_.end() && session->second->attached()) visit(*session->second);
  }
}

void Children::refuse_denied() {
  // Also those that are superseded or still being decided upon.
  for (const auto& [channel, session] : sessions_)
    if (session->who().id)
      if (const auto objection = owner_.objection_to(session->who())) session->refuse(*objection);
}

void Children::stop(const std::string& why) {
  stopping_ = true;
  for (const auto& [channel, session] : sessions_)
    session->channel().refuse(wire::Refusal::stopping, why, std::chrono::seconds(1));
}

}  // namespace postern::node
