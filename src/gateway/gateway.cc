#include "gateway/gateway.h"

#include "base/invariant.h"
#include "model/measures.h"
#include "node/admission.h"
#include "node/signed.h"

namespace postern {
namespace {

using node::Decision;
using node::message_of;
using node::Refusal;

constexpr std::size_t kHeadBytesMax = 8u << 10;
constexpr std::size_t kPresenceBytesMax = 4u << 10;
constexpr std::size_t kConfirmBytesMax = 256;
constexpr Duration kRequestWaitMax = std::chrono::seconds(10);
/// What a node waits that is told that we cannot ask.
constexpr std::chrono::seconds kAskAgainAfter{5};

std::string bytes_of(const google::protobuf::MessageLite& message) {
  return message.SerializeAsString();
}

wire::pb::Admission admission_of(const node::Candidate& candidate) {
  wire::pb::Admission admission;
  *admission.mutable_hello() = candidate.hello;
  for (const Certificate& certificate : candidate.chain)
    admission.add_chain(node::field_of(certificate.der()));
  admission.set_address(candidate.address);
  admission.set_exporter(node::field_of(candidate.exporter));
  return admission;
}

}  // namespace

Result<std::unique_ptr<Gateway>> Gateway::open(node::Surroundings around, NodeSettings settings) {
  std::unique_ptr<Gateway> gateway(new Gateway(around));
  PortOptions options;
  options.address = settings.listen.host;
  options.port = settings.listen.port;
  auto opened = node::Node::open(around, std::move(settings), node::Role::gateway, *gateway);
  if (!opened) return std::unexpected(opened.error());
  gateway->node_ = std::move(*opened);
  node::Children::Owner& owner = *gateway;
  gateway->children_ = std::make_unique<node::Children>(
      around.loops, around.log, gateway->node_->self(), owner, around.credit_limits);
  if (auto listening = gateway->children_->listen(around.network, gateway->node_->tls(), options);
      !listening)
    return std::unexpected(listening.error());
  around.log.info("gateway {} listens on {}:{}", gateway->node_->self().name, options.address,
                  gateway->children_->port());
  gateway->node_->start();
  return gateway;
}

Gateway::Gateway(node::Surroundings around)
    : around_(around),
      core_(around.loops.core()),
      log_(around.log),
      started_(around.clock.wall()) {}
Gateway::~Gateway() {
  *alive_ = false;
  children_.reset();
  node_.reset();
}

void Gateway::reload(const NodeSettings& settings) { node_->reload(settings); }

void Gateway::on_certificate() {
  if (!children_) return;
  children_->set_tls(node_->tls());
  children_->refuse_denied();  // by another revocation list
}

std::optional<node::Refusal> Gateway::objection_to(const node::Neighbour& who) {
  if (const auto denied = node_->trust().denied(who.id, who.certificate))
    return refusal_for(*denied, who.name);
  return refusal_by_list(node_->tls()->revocations().get(), who);
}

void Gateway::stop(const std::string& why) {
  children_->stop(why);
  node_->stop(why);
}

std::string Gateway::status_words() const {
  return fmt::format("{} children, {}", children_->size(), node_->status_words());
}

// ---- Who may come in

/// Decides from what is known on this machine; nullopt: the management server must be asked.
std::optional<Decision> Gateway::decide_here(const node::Candidate& candidate) {
  node::Trust& trust = node_->trust();
  if (const auto denied = trust.denied(candidate.who.id, candidate.who.certificate))
    return std::unexpected(refusal_for(*denied, candidate.who.name));
  if (candidate.hello.has_approval()) {
    // All kinds of documents verify here; one that is new must have its effect on everybody.
    auto taken = trust.take(candidate.hello.approval(), around_.clock.wall());
    if (!taken)
      log_.info("the approval that {} shows is not believed: {}", candidate.who.name,
                taken.error().message);
    else if (taken->is_new)
      on_document(candidate.hello.approval(), taken->body);
    if (const auto denied = trust.denied(candidate.who.id, candidate.who.certificate))
      return std::unexpected(refusal_for(*denied, candidate.who.name));
  }
  const auto approval = trust.approval(candidate.who.id);
  if (!approval) return std::nullopt;
  if (against_approval(approval->approval, candidate, node_->self().name)) return std::nullopt;
  return node::Admitted{approval->document, documents_for(candidate.who.id)};
}

void Gateway::admit(const node::Candidate& candidate, std::function<void(Decision)> decided) {
  if (auto decision = decide_here(candidate)) {
    decided(std::move(*decision));
    return;
  }
  ask_upwards(candidate, std::move(decided));
}

void Gateway::on_twin(const node::Child& child, const node::Candidate& twin) {
  wire::pb::Admission admission = admission_of(twin);
  admission.set_twin_of(child.peer().address);
  wire::pb::Request request;
  request.set_kind(1);
  request.set_body(bytes_of(admission));
  send_request(std::move(request), [](const wire::pb::Reply&) {});
}

void Gateway::ask_upwards(const node::Candidate& candidate, std::function<void(Decision)> decided) {
  const wire::pb::Admission admission = admission_of(candidate);
  wire::pb::Request request;
  request.set_kind(1);
  request.set_body(bytes_of(admission));

  const std::string name = candidate.who.name;
  const bool sent = send_request(std::move(request), [this, candidate,
                                                      decided](const wire::pb::Reply& reply) {
    if (reply.has_refused()) {
      const auto& refused = reply.refused();
      decided(std::unexpected(Refusal{wire::refusal_of_code(refused.reason()), refused.words(),
                                      std::chrono::milliseconds(refused.retry_after_ms())}));
      return;
    }
    wire::pb::AdmissionReply admitted;
    if (admitted.ParseFromString(reply.body()) && admitted.has_approval()) {
      for (const auto& document : admitted.documents())
        if (auto taken = node_->trust().take(document, around_.clock.wall());
            taken && taken->is_new)
          on_document(document, taken->body);
      auto taken = node_->trust().take(admitted.approval(), around_.clock.wall());
      if (!taken)
        log_.warning("the approval of {} from above is not believed: {}", candidate.who.name,
                     taken.error().message);
    }
    const auto approval = node_->trust().approval(candidate.who.id);
    if (!approval) {
      decided(std::unexpected(Refusal{wire::Refusal::busy, "the answer from above was no approval",
                                      std::chrono::seconds(10)}));
      return;
    }
    if (const auto objection = objection_to(candidate.who)) {  // by a list that came meanwhile
      decided(std::unexpected(*objection));
      return;
    }
    if (auto refusal = against_approval(approval->approval, candidate, node_->self().name)) {
      decided(std::unexpected(*refusal));
      return;
    }
    decided(node::Admitted{approval->document, documents_for(candidate.who.id)});
  });
  if (!sent)
    decided(std::unexpected(Refusal{
        wire::Refusal::busy,
        fmt::format("gateway {} has no approval of {} and cannot ask the management server now",
                    node_->self().name, name),
        std::chrono::seconds(5)}));
}

std::vector<wire::pb::Signed> Gateway::documents_for(const NodeId&) {
  return node_->trust().for_children();
}

std::vector<wire::pb::Hop> Gateway::path() {
  std::vector<wire::pb::Hop> path;
  wire::pb::Hop own;
  own.set_node_id(node::field_of(node_->self().id.bytes));
  own.set_name(node_->self().name);
  own.set_role(static_cast<std::uint32_t>(node::Role::gateway));
  path.push_back(own);
  for (const auto& hop : node_->uplink().path()) path.push_back(hop);
  return path;
}

wire::pb::Hop Gateway::hop_of(const node::Neighbour& who) const {
  wire::pb::Hop hop;
  hop.set_node_id(node::field_of(who.id.bytes));
  hop.set_name(who.name);
  hop.set_role(static_cast<std::uint32_t>(who.role));
  return hop;
}

void Gateway::on_child(node::Child& child, const node::Candidate& candidate) {
  wire::pb::Presence presence;
  presence.set_node_id(node::field_of(child.who().id.bytes));
  presence.set_connected(true);
  presence.set_since_ms(to_ms(around_.clock.wall()));
  presence.set_address(candidate.address);
  presences_[child.who().id] = {child.who().id, presence};
  // Told above behind its first head: only that shows the server that its way leads through here.
  awaiting_head_.insert(child.who().id);
}

void Gateway::announce(const NodeId& id) {
  const auto known = presences_.find(id);
  if (awaiting_head_.erase(id) == 0 || known == presences_.end()) return;
  node_->uplink().send(message_of(wire::Type::presence, known->second.second));
}

void Gateway::on_child_gone(const node::Child& child, const std::string&) {
  awaiting_head_.erase(child.who().id);
  ways_.gone(child.channel_id());
  wire::pb::Presence presence = presences_[child.who().id].second;
  presence.set_node_id(node::field_of(child.who().id.bytes));
  presence.set_connected(false);
  presence.set_since_ms(to_ms(around_.clock.wall()));
  // What is behind it comes again with its next attach; until then we know nothing of it.
  std::erase_if(presences_,
                [&](const auto& entry) { return entry.second.first == child.who().id; });
  presences_[child.who().id] = {child.who().id, presence};
  node_->uplink().send(message_of(wire::Type::presence, presence));
}

// ---- Batches

void Gateway::on_batch(node::Child& child, const wire::Stamped& stamped,
                       const wire::BatchView& batch, SharedBytes message) {
  using Action = relay::Intake::Action;
  const wire::StreamKey stream = batch.header.stream;
  const std::uint64_t sequence = batch.header.sequence;
  const wire::Lane lane = stream.lane;
  const Digest hash = sha256(batch.signed_part);
  const std::size_t bytes = message->size();

  const relay::Intake intake =
      take_in(node_->relay(), stream, sequence, hash, room_for(stamped, bytes));
  if (intake.action != Action::store) child.taken(lane, bytes);
  switch (intake.action) {
    case Action::answer:
      show_settled(child, stream);
      answer_with_coverage(stream);
      return;
    case Action::not_yet:
      ++batches_refused_;
      child.answer(stream, sequence, hash, node::kNotYet, intake.words, intake.retry_after);
      return;
    case Action::equivocation:
      // Never a duplicate (rule D1): ours stays, the other one stays with the child, and it is said
      // aloud.
      ++equivocations_;
      log_.error("equivocation: {} sent another batch {} of {} than the one that is held here",
                 child.who().name, sequence, stream.text());
      show_settled(child, stream);
      answer_with_evidence(child.channel_id(), stream, sequence, hash, intake);
      return;
    case Action::store:
      break;
  }

  auto with_stamp = wire::add_stamp(*message, {child.who().id, around_.clock.wall()});
  invariant(with_stamp.has_value(), "there is room for a stamp");
  auto shared = std::make_shared<const Bytes>(std::move(*with_stamp));
  relay::Held held = relay::held_of(batch.header, hash, shared);
  held.from = child.who().id;
  node_->store(std::move(held), [this, channel = child.channel_id(), stream, sequence, hash, lane,
                                 bytes](const Result<>& stored) {
    if (node::Child* from = children_ ? children_->by_channel(channel) : nullptr)
      from->taken(lane, bytes);
    if (stored) {
      ++batches_taken_;
      answer_with_coverage(stream);
      return;
    }
    if (batches_refused_++ % 100 == 0)
      log_.error("a batch cannot be stored: {}", stored.error().message);
    if (!children_) return;
    // Whoever sent it again meanwhile on a newer connection waits for the same answer.
    children_->for_each_of(stream, [&](node::Child& asker) {
      asker.answer(stream, sequence, hash, node::kNotYet, stored.error().message,
                   relay::Intake::kSpoolRetry);
    });
  });
}

/// Whether a batch of `bytes` may come in now.
Result<> Gateway::room_for(const wire::Stamped& stamped, std::size_t bytes) const {
  if (stamped.stamps.size() >= wire::kStampsMax)
    return fail(Errc::exhausted, "it has passed {} hops already; a chain has at most {}",
                stamped.stamps.size(), wire::kStampsMax);
  if (!node_->spool().has_room(bytes))
    return fail(Errc::exhausted, "the spool writes slower than batches come");
  return {};
}

/// The other batch's header and signature: the origin believes its own signature only (W32).
void Gateway::answer_with_evidence(std::uint64_t channel, const wire::StreamKey& stream,
                                   std::uint64_t sequence, const Digest& hash,
                                   const relay::Intake& intake) {
  node_->evidence_of(
      stream, sequence, [this, channel, stream, sequence, hash, intake](const Bytes& evidence) {
        if (node::Child* child = children_ ? children_->by_channel(channel) : nullptr)
          child->answer(stream, sequence, hash, node::kNotYet, intake.words, intake.retry_after,
                        evidence);
      });
}

void Gateway::show_settled(node::Child& child, const wire::StreamKey& stream) {
  auto settled = node_->relay().settled_message(stream);
  if (!settled) return;
  wire::Message down = wire::make_message(wire::Type::settled, {});
  down.body = std::move(settled);
  child.send(std::move(down));
}

void Gateway::on_offer(node::Child& child, const std::vector<wire::Coverage>& offers) {
  std::vector<wire::Coverage> held;
  for (const wire::Coverage& offer : offers) {
    show_settled(child, offer.stream);
    node_->relay().on_child_offer(offer.stream, child.highest(offer.stream).value_or(0));
    held.push_back(node_->relay().coverage(offer.stream, child.highest(offer.stream)));
  }
  send_stored(child, held);
}

/// Batches stored in one turn are answered together.
void Gateway::answer_with_coverage(const wire::StreamKey& stream) {
  to_answer_.insert(stream);
  if (flush_posted_) return;
  flush_posted_ = true;
  core_.post([this, alive = alive_] {
    if (*alive) flush_answers();
  });
}

void Gateway::flush_answers() {
  flush_posted_ = false;
  if (!children_) return;
  std::map<std::uint64_t, std::vector<wire::Coverage>> answers;  // by channel
  for (const wire::StreamKey& stream : std::exchange(to_answer_, {}))
    children_->for_each_of(stream, [&](node::Child& child) {
      answers[child.channel_id()].push_back(node_->relay().coverage(stream, child.highest(stream)));
    });
  for (const auto& [channel, list] : answers)
    if (node::Child* child = children_->by_channel(channel)) send_stored(*child, list);
}

void Gateway::send_stored(node::Child& child, std::span<const wire::Coverage> list) {
  for (Bytes& body : wire::encode_coverage_messages(list))
    child.send(wire::make_message(wire::Type::stored, std::move(body)));
}

void Gateway::on_lost(const wire::StreamKey& stream) { answer_with_coverage(stream); }

void Gateway::on_copy_refused(const wire::StreamKey& stream, const wire::pb::Answer& answer) {
  if (!children_) return;
  children_->for_each_of(
      stream, [&](node::Child& child) { child.send(message_of(wire::Type::answer, answer)); });
}

void Gateway::on_rewound() {
  for (const wire::StreamKey& stream : node_->relay().streams()) answer_with_coverage(stream);
}

void Gateway::on_space(bool full) {
  if (children_) children_->set_full(full);
}

/// Down the way that the node's heads came up (W53). Heads may be refused as old for a while after
/// a clock went back, and the node be there all the same.
void Gateway::pass_down(const NodeId& target, const wire::pb::Request& request) {
  if (!children_) return;
  const auto way = ways_.way_to(target);
  node::Child* const behind = way ? children_->by_channel(*way) : nullptr;
  node::Child* const itself = children_->find(target);
  // Of a copied node both are asked.
  for (node::Child* child : {behind, itself == behind ? nullptr : itself})
    if (child != nullptr) child->send(message_of(wire::Type::request, request));
  if (behind != nullptr || itself != nullptr) return;
  children_->for_each([&](node::Child& gateway) {
    if (gateway.who().role == node::Role::gateway)
      gateway.send(message_of(wire::Type::request, request));
  });
}

void Gateway::on_settled(const wire::StreamKey& stream, SharedBytes message) {
  if (!children_) return;
  children_->for_each_of(stream, [&](node::Child& child) {
    wire::Message down = wire::make_message(wire::Type::settled, {});
    down.body = message;
    child.send(std::move(down));
  });
}

// ---- Heads, presence, requests

void Gateway::on_child_message(node::Child& child, const wire::Message& message) {
  const auto parse = [&](google::protobuf::MessageLite& into) {
    return into.ParseFromArray(message.bytes().data(), static_cast<int>(message.bytes().size()));
  };
  switch (message.type) {
    case wire::Type::head:
      return on_head(child, message);
    case wire::Type::presence: {
      wire::pb::Presence presence;
      if (parse(presence)) on_presence(child, std::move(presence));
      return;
    }
    case wire::Type::request: {
      wire::pb::Request request;
      if (parse(request)) on_request(child, std::move(request));
      return;
    }
    case wire::Type::notice: {
      wire::pb::Notice notice;
      if (parse(notice)) on_notice(child, std::move(notice));
      return;
    }
    case wire::Type::document: {
      wire::pb::Signed document;
      if (parse(document)) on_shown(document);
      return;
    }
    case wire::Type::settled:
      return on_shown_settled(message);
    default:
      log_.debug("{} from {} is not used by this version", wire::to_string(message.type),
                 child.who().name);
  }
}

void Gateway::on_head(node::Child& child, const wire::Message& message) {
  auto stamped = wire::read_stamped(message.bytes());
  wire::pb::Signed signed_head;
  wire::pb::Head head;
  if (!stamped || stamped->body.size() > kHeadBytesMax ||
      !signed_head.ParseFromArray(stamped->body.data(), static_cast<int>(stamped->body.size())) ||
      !head.ParseFromString(signed_head.body())) {
    ++heads_dropped_;
    return;
  }
  const NodeId id = node::node_id_of_field(head.node_id());
  // An agent speaks for itself alone; a gateway also passes on what its descendants signed (rule
  // T5).
  if (id != child.who().id && child.who().role != node::Role::gateway) {
    ++heads_dropped_;
    return;
  }
  if (id == child.who().id)
    if (const auto unknown = node_->trust().unknown_to(head);
        !unknown.empty() && child.may_repeat(core_.now()))
      for (const auto& document : unknown) child.send(message_of(wire::Type::document, document));
  auto with_stamp = wire::add_stamp(message.bytes(), {child.who().id, around_.clock.wall()});
  if (!with_stamp) return;
  wire::Message up = wire::make_message(wire::Type::head, std::move(*with_stamp));
  const auto approval = node_->trust().approval(id);
  if (!approval) {
    // Its key is not known here, so nothing is decided by its number: the server will judge.
    if (!ways_.way_to(id)) ways_.learned(id, child.channel_id());
    node_->uplink().send(std::move(up));
    announce(id);
    return;
  }
  auto key = PublicKey::from_spki(as_bytes(approval->approval.identity_key()));
  if (!key || !node::verifies(*key, node::kHeadContext, signed_head)) {
    if (heads_dropped_++ % 100 == 0)
      log_.error("a head of {} that came by {} is not as it signed it", approval->approval.name(),
                 child.who().name);
    return;
  }
  // Also of an old one, which only means that a clock went back.
  for (const auto& stream : head.streams()) {
    if (stream.lane() > 0xff || !wire::is_lane(static_cast<std::uint8_t>(stream.lane()))) continue;
    const auto lane = static_cast<wire::Lane>(stream.lane());
    const auto last =
        node_->relay().last_of({id, {stream.epoch_ordinal(), stream.epoch_random()}, lane});
    if (stream.sealed() > (last ? last->first : 0)) child.wants(lane);
  }
  const auto known = heads_.find(id);
  if (known != heads_.end() && known->second.first >= head.number()) return;
  ways_.learned(id, child.channel_id());
  if (known == heads_.end() && heads_.size() >= kHeadsKeptMax) {
    ++heads_dropped_;
    return;
  }
  heads_[id] = {head.number(), up};
  node_->uplink().send(std::move(up));
  announce(id);
}

/// It does not have these any more: passed up, believed by nobody as final (rule D5).
void Gateway::on_notice(node::Child& child, wire::pb::Notice notice) {
  if (child.who().role != node::Role::gateway || notice.ByteSizeLong() > kPresenceBytesMax ||
      notice.path_size() >= static_cast<int>(wire::kStampsMax))
    return;
  *notice.add_path() = hop_of(child.who());
  node_->uplink().send(message_of(wire::Type::notice, notice));
}

/// A child keeps a document that the newest tick does not know of (W35).
void Gateway::on_shown(const wire::pb::Signed& document) {
  auto taken = node_->trust().take(document, around_.clock.wall());
  if (!taken) return;
  if (taken->is_new) on_document(document, taken->body);
  node_->uplink().send(message_of(wire::Type::document, document));
}

/// A child keeps a settled that says more than ours (W34). Ours is what we were told; what counts
/// is the server's answer to it.
void Gateway::on_shown_settled(const wire::Message& message) {
  auto view = wire::read_settled(message.bytes());
  if (!view || !node_->trust().believe(*view, around_.clock.wall())) return;
  node_->uplink().send(message);
}

void Gateway::on_presence(node::Child& child, wire::pb::Presence presence) {
  const NodeId node = node::node_id_of_field(presence.node_id());
  const auto known = presences_.find(node);
  // A child says who is behind *it*: it may not speak of what another child has told of.
  const bool of_another = known != presences_.end() && known->second.first != child.who().id &&
                          known->second.second.connected();
  if (child.who().role != node::Role::gateway || presence.ByteSizeLong() > kPresenceBytesMax ||
      of_another || presence.path_size() >= static_cast<int>(wire::kStampsMax) ||
      (presences_.size() >= kHeadsKeptMax && known == presences_.end()))
    return;
  *presence.add_path() = hop_of(child.who());
  presences_[node] = {child.who().id, presence};
  node_->uplink().send(message_of(wire::Type::presence, presence));
}

void Gateway::on_attached() {
  // The new parent knows nothing of what is below us; heads first, they show the way.
  for (const auto& [node, entry] : heads_) node_->uplink().send(entry.second);
  for (const auto& [node, entry] : presences_)
    node_->uplink().send(message_of(wire::Type::presence, entry.second));
  on_path_changed();
}

void Gateway::on_path_changed() {
  if (!children_) return;
  wire::pb::Path path;
  for (auto& hop : this->path()) *path.add_path() = std::move(hop);
  children_->for_each([&](node::Child& child) { child.send(message_of(wire::Type::path, path)); });
}

void Gateway::on_request(node::Child& child, wire::pb::Request request) {
  if (request.kind() == node::kJoinRequest) return on_join_request(child, std::move(request));
  const std::uint64_t childs_id = request.id();
  const std::uint64_t channel = child.channel_id();
  wire::pb::Admission admission;
  const bool confirms =
      request.kind() == node::kConfirmRequest && request.body().size() <= kConfirmBytesMax;
  const bool renews = request.kind() == node::kCertificateRequest &&
                      request.body().size() <= node::kCertificateRequestBytesMax &&
                      certificates_.take(child.who().id.hex(), core_.now()) == Duration::zero();
  const bool admits = request.kind() == 1 && child.who().role == node::Role::gateway &&
                      admission.ParseFromString(request.body()) &&
                      admission.path_size() < static_cast<int>(wire::kStampsMax);
  if (!confirms && !renews && !admits) {
    log_.debug("a request of kind {} from {} is not passed on", request.kind(), child.who().name);
    return;
  }
  if (admits) {
    *admission.add_path() = hop_of(child.who());
    request.set_body(bytes_of(admission));
  }
  const bool sent =
      send_request(std::move(request), [this, childs_id, channel](const wire::pb::Reply& reply) {
        if (node::Child* asker = children_->by_channel(channel)) {
          wire::pb::Reply down = reply;
          down.set_id(childs_id);
          asker->send(message_of(wire::Type::reply, down));
        }
      });
  if (sent || confirms) return;
  wire::pb::Reply reply = node::reply_of(cannot_ask());
  reply.set_id(childs_id);
  child.send(message_of(wire::Type::reply, reply));
}

node::Refusal Gateway::cannot_ask() const {
  return {wire::Refusal::busy,
          fmt::format("gateway {} cannot ask the management server now", node_->self().name),
          kAskAgainAfter};
}

bool Gateway::send_request(wire::pb::Request request,
                           std::function<void(const wire::pb::Reply&)> done) {
  if (requests_.size() >= kRequestsWaitingMax || !node_->uplink().attached()) return false;
  const std::uint64_t id = next_request_++;
  request.set_id(id);
  Waiting waiting{std::move(done), core_.after(kRequestWaitMax, [this, id] {
                    wire::pb::Reply late = node::reply_of(
                        {wire::Refusal::busy, "the management server did not answer within 10 s",
                         kAskAgainAfter});
                    late.set_id(id);
                    on_reply(late);
                  })};
  requests_.emplace(id, std::move(waiting));
  node_->uplink().send(message_of(wire::Type::request, request));
  return true;
}

void Gateway::on_reply(const wire::pb::Reply& reply) {
  const auto found = requests_.find(reply.id());
  if (found == requests_.end()) return;
  auto done = std::move(found->second.done);
  requests_.erase(found);
  done(reply);
}

// ---- Documents

void Gateway::on_document(const wire::pb::Signed& document, const wire::pb::DocumentBody& body) {
  if (!children_) return;
  const auto type = static_cast<node::DocumentType>(body.type());
  const NodeId audience = node::node_id_of_field(body.audience());
  children_->for_each([&](node::Child& child) {
    const bool for_all = body.audience().empty();
    if (for_all || child.who().id == audience || child.who().role == node::Role::gateway)
      child.send(message_of(wire::Type::document, document));
  });
  if (type != node::DocumentType::deny) return;
  children_->refuse_denied();
  node_->uplink().refuse_denied();
}

std::vector<Measurement> Gateway::own_health() {
  Measures m(around_.clock.wall(), started_);
  m.gauge("postern.gateway.children", "{node}", children_ ? children_->size() : 0,
          "Agents and gateways that are attached.");
  m.counter("postern.gateway.batches.stored", "{batch}", batches_taken_,
            "Batches of children that were stored.");
  m.counter("postern.gateway.batches.not_stored", "{batch}", batches_refused_,
            "Batches of children that were answered otherwise.");
  m.counter("postern.gateway.equivocations", "{batch}", equivocations_,
            "Batches that contradict one that is held.");
  m.append(node::port_health(children_.get(), around_.clock.wall(), started_));
  return m.take();
}

void Gateway::on_http(HttpRequest request, Respond respond) {
  if (node::is_for_strangers(request.target))
    return on_stranger(std::move(request), std::move(respond));
  respond(node::status_page(request, request.loopback, status()));
}

node::Status Gateway::status() {
  return {[this] { return node_->not_ready(); }, [this] { return node_->own_health(); }};
}

}  // namespace postern
