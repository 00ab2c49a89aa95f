#include "server/server.h"

#include <algorithm>

#include "api/caller.h"
#include "api/router.h"
#include "base/quantity.h"

namespace postern {
namespace {

using node::Decision;
using node::message_of;
using node::Refusal;

constexpr Duration kTrimInterval = std::chrono::minutes(1);
constexpr std::size_t kTrimRows = 2000;
constexpr Duration kOwnRetry = std::chrono::seconds(5);

Refusal too_many_admissions(std::size_t waiting) {
  return {wire::Refusal::busy,
          fmt::format("{} nodes wait for the management server's word already; ask again", waiting),
          std::chrono::seconds(5)};
}

}  // namespace

Result<std::unique_ptr<Server>> Server::open(node::Surroundings around, ServerSettings settings,
                                             std::unique_ptr<store::Store> store) {
  auto identity = node::open_identity(around, settings.state_dir, node::Role::server,
                                      settings.group, settings.name);
  if (!identity) return std::unexpected(identity.error());
  if (!identity->root)
    return fail(Errc::invalid, "{} has no group root; make the group with postern-server init",
                settings.state_dir.string());
  auto delegate = GroupFolder(around.disk, settings.state_dir).delegate();
  if (!delegate) return std::unexpected(delegate.error());
  if (!store) {
    auto opened = store::open_sqlite(settings.store.substr(std::string_view("sqlite:").size()));
    if (!opened) return std::unexpected(opened.error());
    store = std::move(*opened);
  }
  std::unique_ptr<Server> server(new Server(around, std::move(settings), std::move(*identity),
                                            std::move(*delegate), std::move(store)));
  if (auto started = server->start(); !started) return std::unexpected(started.error());
  return server;
}

Server::Server(node::Surroundings around, ServerSettings settings, node::Identity identity,
               GroupFolder::Delegate delegate, std::unique_ptr<store::Store> store)
    : around_(around),
      core_(around.loops.core()),
      log_(around.log),
      settings_(std::move(settings)),
      identity_(std::move(identity)),
      folder_(around.disk, settings_.state_dir),
      delegate_(std::move(delegate)),
      trust_(around.log, identity_.root, settings_.state_dir / "documents",
             [](std::filesystem::path, Bytes) {}),
      ticks_(identity_.self.group_id),
      store_(std::move(store)) {}

Server::~Server() {
  *alive_ = false;
  sampler_.reset();
  api_.reset();
  children_.reset();
  // What the end of the connections has just told; then the store thread does all it was given
  // (also with store_, registry_ and service_, which are still there) and ends.
  if (auto last = sightings_.take(); store_thread_ && !last.empty())
    store_thread_->post([this, last = std::move(last)] {
      if (auto noted = note_sightings(last, *store_, *registry_, identity_.self, log_); !noted)
        log_.warning("not noted: {}", noted.error().message);
    });
  store_thread_.reset();
}

/// Before the store thread exists: everything may be touched from here.
Result<> Server::start() {
  TlsContext::Options options;
  options.now = [&clock = around_.clock] { return clock.wall(); };
  auto tls = around_.network.make_tls(identity_.credential, identity_.anchors, options);
  if (!tls) return std::unexpected(tls.error());
  tls_ = *tls;

  const WallTime now = around_.clock.wall();
  using Type = node::DocumentType;
  for (const auto type : {Type::delegation, Type::deny, Type::approval, Type::configuration}) {
    auto documents = store_->documents(static_cast<std::uint32_t>(type));
    if (!documents) return std::unexpected(documents.error());
    for (const store::StoredDocument& stored : *documents) {
      ticks_.on_document(stored.type, {stored.generation, stored.number});
      wire::pb::Signed document;
      if (type != Type::delegation && type != Type::deny) continue;
      if (!document.ParseFromArray(stored.document.data(),
                                   static_cast<int>(stored.document.size())))
        continue;
      if (auto taken = trust_.take(document, now); !taken)
        log_.error("a document of the store is not believed: {}", taken.error().message);
    }
  }
  auto generation = store_->generation();
  if (!generation) return std::unexpected(generation.error());
  generation_ = *generation;

  registry_.emplace(*store_, log_, around_.clock, identity_.self, delegate_, settings_.agents);
  if (auto loaded = registry_->load(); !loaded) return loaded;
  ingest_.emplace(*store_, *registry_, log_);
  auto open_alerts = store_->alerts(true, store::kClosedAlertsMax);
  if (!open_alerts) return std::unexpected(open_alerts.error());
  holes_.resume(*open_alerts);
  if (auto opened = open_outbox(); !opened) return opened;

  node::Children::Owner& owner = *this;
  children_ = std::make_unique<node::Children>(around_.loops, log_, identity_.self, owner,
                                               around_.credit_limits);
  spread(registry_->take_documents());
  PortOptions port;
  port.address = settings_.listen.host;
  port.port = settings_.listen.port;
  store_thread_ = around_.workers.start("store");
  if (auto listening = children_->listen(around_.network, tls_, port); !listening) return listening;

  ServerService::About about{settings_.group,
                             settings_.name,
                             fmt::format("{}:{}", port.address, children_->port()),
                             node::kSoftware,
                             identity_.self.id,
                             settings_.addresses,
                             *identity_.root,
                             identity_.anchors,
                             now,
                             identity_.credential.chain.front().not_after(),
                             settings_.interval};
  service_.emplace(*store_, *registry_, folder_, around_.clock, around_.random, std::move(about),
                   &holes_);
  if (!settings_.api_socket.empty()) {
    auto local = UnixHttpServer::listen(
        core_, log_, settings_.api_socket, [this](HttpRequest request, Respond respond) {
          const UnixPeer peer = request.unix_peer.value_or(UnixPeer{65534, 65534, 0});
          // On the store thread, because it asks the user database.
          answer(
              std::move(request), [peer] { return api::local_caller(peer.uid, peer.gid); },
              std::move(respond));
        });
    if (!local) return std::unexpected(local.error());
    api_ = std::move(*local);
  }

  log_.info("management server {} of group {} listens on {}:{}", settings_.name, settings_.group,
            port.address, children_->port());
  tick();
  look_timer_ = core_.after(kLookInterval, [this] { look(); });
  trim_timer_ = core_.after(kTrimInterval, [this] { trim(); });
  sampler_ = around_.samplers.start(
      core_, log_, identity_.self, settings_.interval,
      [this] {
        const WallTime time = around_.clock.wall();
        const auto measure = [&](const char* name, const char* unit, std::uint64_t value) {
          Measurement m;
          m.name = name;
          m.unit = unit;
          m.value = static_cast<std::int64_t>(value);
          m.time = time;
          return m;
        };
        return std::vector<Measurement>{
            measure("postern.server.children", "{node}", children_->size()),
            measure("postern.server.batches.applied", "{batch}", applied_),
            measure("postern.server.batches.duplicate", "{batch}", duplicates_),
            measure("postern.server.refused", "{connection}", children_->refused()),
            measure("postern.server.batches.waiting", "{batch}", arrived_.size()),
            measure("postern.server.sightings.ignored", "{message}", sightings_ignored_),
            measure("postern.server.sightings.dropped", "{message}", sightings_.dropped())};
      },
      [this](node::Sampler::Sample sample) { on_sample(std::move(sample)); });
  return {};
}

void Server::api(HttpRequest request, const api::Caller& caller, Respond respond) {
  answer(
      std::move(request), [caller] { return caller; }, std::move(respond));
}

void Server::answer(HttpRequest request, std::function<api::Caller()> caller, Respond respond) {
  store_thread_->post([this, alive = alive_, request = std::move(request),
                       caller = std::move(caller), respond = std::move(respond)]() mutable {
    HttpResponse response = api::handle(request, caller(), *service_);
    auto documents = registry_->take_documents();
    auto questions = service_->take_questions();
    core_.post([this, alive, response = std::move(response), respond = std::move(respond),
                documents = std::move(documents), questions = std::move(questions)]() mutable {
      if (!*alive) return;
      for (const Question& question : questions)
        send_down(question.target, question.kind, question.body);
      // First what was decided, then the word that it was: "removed" is true when it is said.
      spread(std::move(documents));
      respond(std::move(response));
    });
  });
}

void Server::reload(const ServerSettings& settings) {
  StateFolder folder(around_.disk, settings_.state_dir);
  auto credential = folder.tls();
  auto anchors = folder.anchors();
  TlsContext::Options options;
  options.now = [&clock = around_.clock] { return clock.wall(); };
  auto tls = credential && anchors
                 ? around_.network.make_tls(*credential, *anchors, options)
                 : std::unexpected(credential ? anchors.error() : credential.error());
  if (tls) {
    tls_ = *tls;
    children_->set_tls(tls_);
    log_.info("certificate {} is used for new connections",
              tls_->credential()->chain.front().serial());
  } else {
    log_.error("the certificate is not taken over: {}", tls.error().message);
  }
  if (settings.interval != settings_.interval) {
    settings_.interval = settings.interval;
    sampler_->set_interval(settings.interval);
    log_.info("interval is now {}", format_duration(settings.interval));
  }
  settings_.archive_age = settings.archive_age;
  settings_.archive_bytes_max = settings.archive_bytes_max;
  if (settings.agents != settings_.agents) {
    settings_.agents = settings.agents;
    store_thread_->post([this, policy = settings.agents] { registry_->set_policy(policy); });
  }
  if (settings.group != settings_.group || settings.name != settings_.name ||
      settings.state_dir != settings_.state_dir || settings.listen != settings_.listen ||
      settings.store != settings_.store || settings.api_socket != settings_.api_socket)
    log_.warning(
        "group, name, state_dir, listen, store and api_socket change at the next restart only");
  log_.info("configuration reloaded");
}

void Server::stop(const std::string& why) {
  sampler_.reset();
  api_.reset();
  children_->stop(why);
}

// ---- Who may come in

node::Decision Server::decide(const node::Candidate& candidate,
                              const std::vector<std::string>& path,
                              std::vector<wire::pb::Signed>& documents) {
  Decision decision = registry_->admit(candidate, path);
  documents = registry_->take_documents();
  return decision;
}

void Server::admit(const node::Candidate& candidate, std::function<void(Decision)> decided) {
  if (const auto denied = trust_.denied(candidate.who.id, candidate.who.tls_key)) {
    decided(std::unexpected(refusal_for(*denied, candidate.who.name)));
    return;
  }
  if (admissions_ >= kAdmissionsMax) {
    decided(std::unexpected(too_many_admissions(admissions_)));
    return;
  }
  ++admissions_;
  store_thread_->post([this, alive = alive_, candidate, decided = std::move(decided)]() mutable {
    std::vector<wire::pb::Signed> documents;
    Decision decision = decide(candidate, {identity_.self.name}, documents);
    core_.post([this, alive, decision = std::move(decision), decided = std::move(decided),
                documents = std::move(documents)]() mutable {
      if (!*alive) return;
      --admissions_;
      spread(std::move(documents));
      if (decision) decision->documents = trust_.for_children();
      decided(std::move(decision));
    });
  });
}

/// A gateway asks for a node that knocked at it, or at a gateway below it (channel.md#W51).
void Server::on_request(node::Child& child, const wire::Message& message) {
  wire::pb::Request request;
  wire::pb::Admission admission;
  const bool readable =
      request.ParseFromArray(message.bytes().data(), static_cast<int>(message.bytes().size()));
  if (readable && request.kind() == node::kConfirmRequest) return on_confirm(child, request);
  if (!readable || request.kind() != 1 || child.who().role != node::Role::gateway ||
      !admission.ParseFromString(request.body())) {
    log_.debug("a request from {} is not answered", child.who().name);
    return;
  }
  const auto reply_with = [this, channel = child.channel_id(),
                           id = request.id()](Decision decision) {
    node::Child* asker = children_->by_channel(channel);
    if (asker == nullptr) return;
    wire::pb::Reply reply;
    reply.set_id(id);
    if (decision) {
      wire::pb::AdmissionReply admitted;
      *admitted.mutable_approval() = *decision->approval;
      for (const auto& document : trust_.for_children()) *admitted.add_documents() = document;
      reply.set_body(admitted.SerializeAsString());
    } else {
      auto& refused = *reply.mutable_refused();
      refused.set_reason(static_cast<std::uint32_t>(decision.error().reason));
      refused.set_words(decision.error().words);
      refused.set_retry_after_ms(static_cast<std::uint32_t>(decision.error().retry_after.count()));
    }
    asker->send(message_of(wire::Type::reply, reply));
  };

  // What a gateway says of a stranger is checked again: it must not bring in what it invented.
  node::Candidate candidate;
  candidate.hello = admission.hello();
  candidate.address = admission.address();
  for (const std::string& der : admission.chain())
    if (auto certificate = Certificate::from_der(as_bytes(der)))
      candidate.chain.push_back(std::move(*certificate));
  if (admission.exporter().size() == candidate.exporter.size())
    std::memcpy(candidate.exporter.data(), admission.exporter().data(), candidate.exporter.size());
  const auto wrong =
      why_refused(candidate.chain, tls_->anchors(),
                  {.now = tls_->now(), .name = candidate.hello.name(), .as_server = false});
  if (wrong) {
    reply_with(
        std::unexpected(Refusal{refusal_of(wrong->reason), wrong->words, std::chrono::minutes(1)}));
    return;
  }
  auto who = node::verify_hello(candidate.hello, candidate.chain.front().spki_sha256(),
                                candidate.exporter, identity_.self);
  if (!who) {
    reply_with(std::unexpected(who.error()));
    return;
  }
  candidate.who = *who;
  if (const auto denied = trust_.denied(candidate.who.id, candidate.who.tls_key)) {
    reply_with(std::unexpected(refusal_for(*denied, candidate.who.name)));
    return;
  }
  const auto asked = asked_.find(child.channel_id());
  const std::size_t of_child = asked == asked_.end() ? 0 : asked->second.admissions;
  if (admissions_ >= kAdmissionsMax || of_child >= kAdmissionsPerChildMax) {
    reply_with(std::unexpected(too_many_admissions(admissions_)));
    return;
  }
  ++admissions_;
  ++asked_[child.channel_id()].admissions;
  std::vector<std::string> path;
  for (const auto& hop : admission.path()) path.push_back(hop.name());
  path.push_back(child.who().name);
  path.push_back(settings_.name);
  store_thread_->post([this, alive = alive_, candidate = std::move(candidate),
                       path = std::move(path), channel = child.channel_id(), reply_with]() mutable {
    std::vector<wire::pb::Signed> documents;
    Decision decision = decide(candidate, path, documents);
    core_.post([this, alive, decision = std::move(decision), documents = std::move(documents),
                channel, reply_with]() mutable {
      if (!*alive) return;
      on_admission_answered(channel);
      spread(std::move(documents));
      reply_with(std::move(decision));
    });
  });
}

void Server::on_admission_answered(std::uint64_t channel) {
  --admissions_;
  Asked& asked = asked_[channel];
  --asked.admissions;
  if (asked.idle()) asked_.erase(channel);
}

std::vector<wire::pb::Hop> Server::path() {
  wire::pb::Hop own;
  own.set_node_id(node::field_of(identity_.self.id.bytes));
  own.set_name(identity_.self.name);
  own.set_role(static_cast<std::uint32_t>(node::Role::server));
  return {own};
}

// ---- Batches

void Server::on_batch(node::Child& child, const wire::Stamped&, const wire::BatchView& batch,
                      SharedBytes message) {
  const std::size_t bytes = message->size();
  auto stamped = wire::add_stamp(*message, {child.who().id, around_.clock.wall()});
  if (!stamped || arrived_bytes_ + bytes > kArrivedBytesMax) {
    child.taken(batch.header.stream.lane, bytes);
    child.answer(batch.header.stream, batch.header.sequence, sha256(batch.signed_part),
                 node::kNotYet,
                 stamped ? "the store is slower than the batches come" : stamped.error().message,
                 std::chrono::seconds(2));
    return;
  }
  arrived_bytes_ += stamped->size();  // as on_ingested() counts it back
  arrived_.push_back({child.channel_id(), std::make_shared<const Bytes>(std::move(*stamped)),
                      around_.clock.wall()});
  apply_next();
}

/// One transaction at a time; what arrives meanwhile shares the next one.
void Server::apply_next() {
  if (applying_ || arrived_.empty()) return;
  applying_ = true;
  std::vector<Arrived> now(
      std::make_move_iterator(arrived_.begin()),
      std::make_move_iterator(arrived_.begin() + static_cast<std::ptrdiff_t>(
                                                     std::min(arrived_.size(), kApplyBatchesMax))));
  arrived_.erase(arrived_.begin(), arrived_.begin() + static_cast<std::ptrdiff_t>(now.size()));
  store_thread_->post([this, alive = alive_, now = std::move(now)]() mutable {
    Ingested ingested = ingest_->take(std::move(now));
    core_.post([this, alive, ingested = std::move(ingested)]() mutable {
      if (!*alive) return;
      applying_ = false;
      on_ingested(std::move(ingested));
      apply_next();
      // After the answers, so that no commit waits for a checkpoint that could come between.
      if (!applying_)
        store_thread_->post([this] {
          if (auto tidied = store_->tidy(); !tidied)
            log_.warning("the store's log is not written back: {}", tidied.error().message);
        });
    });
  });
}

void Server::on_ingested(Ingested ingested) {
  for (const Verdict& verdict : ingested.verdicts) {
    arrived_bytes_ -= std::min(arrived_bytes_, verdict.message_bytes);
    if (verdict.kind == Verdict::Kind::applied) ++applied_;
    if (verdict.kind == Verdict::Kind::duplicate) ++duplicates_;
    if (verdict.own && verdict.kind == Verdict::Kind::not_yet) own_again_.push_back(verdict.own);
    node::Child* child = verdict.channel == 0 ? nullptr : children_->by_channel(verdict.channel);
    if (child == nullptr) continue;
    // The child counted its message, which had one stamp less.
    child->taken(verdict.stream.lane, verdict.message_bytes - wire::kStampBytes);
    switch (verdict.kind) {
      case Verdict::Kind::applied:
      case Verdict::Kind::duplicate:
        break;  // answered by coverage below
      case Verdict::Kind::copy_refused:
        child->answer(verdict.stream, verdict.sequence, verdict.hash, node::kCopyRefused,
                      verdict.words, std::chrono::seconds(0));
        break;
      case Verdict::Kind::refused_for_good:
        child->answer(verdict.stream, verdict.sequence, verdict.hash, node::kRefusedForGood,
                      verdict.words, std::chrono::seconds(0));
        break;
      case Verdict::Kind::not_yet:
        child->answer(verdict.stream, verdict.sequence, verdict.hash, node::kNotYet, verdict.words,
                      std::chrono::seconds(10), verdict.evidence);
        break;
    }
  }
  if (!own_again_.empty() && !own_timer_.running())
    own_timer_ = core_.after(kOwnRetry, [this] {
      for (SharedBytes& message : std::exchange(own_again_, {})) put(std::move(message));
    });
  if (ingested.generation > generation_) on_generation(ingested.generation);
  std::map<std::uint64_t, std::vector<wire::Coverage>> stored;  // by channel
  for (wire::Coverage& coverage : ingested.coverages) {
    children_->for_each_of(coverage.stream, [&](node::Child& child) {
      stored[child.channel_id()].push_back(coverage);
    });
    settle(std::move(coverage), ingested.generation);
  }
  for (const auto& [channel, list] : stored)
    if (node::Child* child = children_->by_channel(channel))
      for (Bytes& body : wire::encode_coverage_messages(list))
        child->send(wire::make_message(wire::Type::stored, std::move(body)));
}

void Server::on_offer(node::Child& child, const std::vector<wire::Coverage>& offers) {
  Asked& asked = asked_[child.channel_id()];
  for (const wire::Coverage& offer : offers) asked.offered.insert(offer.stream);
  if (!asked.answering) answer_offers(child.channel_id());
}

/// One request a child at a time; what it offers meanwhile waits for the next one.
void Server::answer_offers(std::uint64_t channel) {
  Asked& asked = asked_[channel];
  if (children_->by_channel(channel) == nullptr) asked.offered.clear();
  asked.answering = !asked.offered.empty();
  if (!asked.answering) {
    if (asked.idle()) asked_.erase(channel);
    return;
  }
  std::vector<wire::StreamKey> streams;
  while (!asked.offered.empty() && streams.size() < wire::kCoverageListMax)
    streams.push_back(asked.offered.extract(asked.offered.begin()).value());
  store_thread_->post([this, alive = alive_, channel, streams = std::move(streams)] {
    std::vector<wire::Coverage> coverages;
    const auto generation = store_->generation();
    for (const wire::StreamKey& stream : streams) {
      auto coverage = store_->settled_coverage(stream);
      if (!coverage)
        log_.error("what is settled of {} cannot be read, all of it is asked for again: {}",
                   stream.text(), coverage.error().message);
      // A duplicate does no harm; without an answer the child would wait for ever.
      coverages.push_back(coverage ? std::move(*coverage) : wire::Coverage{stream, {}});
    }
    core_.post([this, alive, channel, generation = generation.value_or(0),
                coverages = std::move(coverages)]() mutable {
      if (!*alive) return;
      if (generation > generation_) on_generation(generation);
      if (node::Child* asker = children_->by_channel(channel)) {
        for (Bytes& body : wire::encode_coverage_messages(coverages))
          asker->send(wire::make_message(wire::Type::stored, std::move(body)));
        for (wire::Coverage& coverage : coverages)
          if (!coverage.intervals.empty()) settle(std::move(coverage), generation);
      }
      answer_offers(channel);
    });
  });
}

/// The signed word, at most once a second for a stream.
void Server::settle(wire::Coverage coverage, std::uint32_t generation) {
  if (generation == 0) return;  // not known now; the next offer or batch asks again
  settler_.on_coverage(std::move(coverage), generation, core_.now());
  sign_due();
}

void Server::sign_due() {
  for (const Settler::Due& due : settler_.take_due(core_.now())) {
    const wire::Message message =
        wire::make_message(wire::Type::settled, signed_settled(due.coverage, due.generation));
    children_->for_each_of(due.coverage.stream, [&](node::Child& child) { child.send(message); });
  }
  if (settler_.wake_at() != TimePoint::max())
    settle_timer_ = core_.after(settler_.wake_at() - core_.now(), [this] { sign_due(); });
}

Bytes Server::signed_settled(const wire::Coverage& coverage, std::uint32_t generation) const {
  wire::Settled settled;
  settled.group = identity_.self.group_id;
  settled.server = identity_.self.id;
  settled.delegation = delegate_.number;
  settled.generation = generation;
  settled.issued = around_.clock.wall();
  settled.coverage = coverage;
  const Bytes signed_part = encode_signed_part(settled);
  const Signature signature = delegate_.key.sign(wire::kSettledContext, signed_part);
  Writer body;
  body.bytes(signed_part).bytes(signature);
  return body.take();
}

// ---- Heads and presence

void Server::on_child(node::Child& child, const node::Candidate&) {
  Sighting sighting;
  sighting.seen.id = child.who().id;
  sighting.seen.time = around_.clock.wall();
  sighting.seen.connected = true;
  sighting.seen.address = child.peer().address;
  sighting.seen.path = std::vector{settings_.name};
  note(std::move(sighting));
}

void Server::on_child_gone(const node::Child& child, const std::string&) {
  ways_.gone(child.channel_id());
  Sighting sighting;
  sighting.seen.id = child.who().id;
  sighting.seen.connected = false;
  note(std::move(sighting));
}

/// One transaction for all of a turn, one at a time.
void Server::note(Sighting sighting) {
  sightings_.add(std::move(sighting));
  if (std::exchange(noting_, true)) return;
  core_.post([this, alive = alive_] {
    if (*alive) note_next();
  });
}

void Server::note_next() {
  std::vector<Sighting> now = sightings_.take();
  noting_ = !now.empty();
  if (!noting_) return;
  store_thread_->post([this, alive = alive_, now = std::move(now)] {
    auto noted = note_sightings(now, *store_, *registry_, identity_.self, log_);
    if (!noted) log_.warning("{} sightings are not noted: {}", now.size(), noted.error().message);
    core_.post([this, alive, noted = noted.value_or(Noted{})] {
      if (!*alive) return;
      sightings_ignored_ += noted.ignored;
      for (const Noted::Way& way : noted.ways) {
        // One that came again, by another way perhaps, shows nothing (W53).
        if (head_numbers_[way.node] >= way.number) continue;
        head_numbers_[way.node] = way.number;
        ways_.learned(way.node, way.channel);
      }
      note_next();
    });
  });
}

void Server::on_child_message(node::Child& child, const wire::Message& message) {
  switch (message.type) {
    case wire::Type::head:
      return on_head(child, message);
    case wire::Type::presence:
      return on_presence(child, message);
    case wire::Type::request:
      return on_request(child, message);
    case wire::Type::document:
      return on_document(child, message);
    case wire::Type::settled:
      return on_settled(child, message);
    case wire::Type::notice:
      return on_notice(child, message);
    default:
      log_.debug("{} from {} is not used by this version", wire::to_string(message.type),
                 child.who().name);
  }
}

void Server::on_head(node::Child& child, const wire::Message& message) {
  auto stamped = wire::read_stamped(message.bytes());
  Sighting sighting;
  auto& head = sighting.head.emplace();
  if (!stamped ||
      !head.message.ParseFromArray(stamped->body.data(), static_cast<int>(stamped->body.size())))
    return;
  head.stamps = std::move(stamped->stamps);
  head.by = child.who().id;
  head.channel = child.channel_id();
  sighting.seen.time = around_.clock.wall();
  sighting.bytes = 1 + message.bytes().size();  // never nothing: that is our own word
  note(std::move(sighting));
}

/// A gateway's word about who is behind it: it may make a node's state worse, never better (rule
/// D6), and only of nodes whose data comes through it.
void Server::on_presence(node::Child& child, const wire::Message& message) {
  wire::pb::Presence presence;
  if (child.who().role != node::Role::gateway || message.bytes().size() > kPresenceBytesMax ||
      !presence.ParseFromArray(message.bytes().data(), static_cast<int>(message.bytes().size()))) {
    ++sightings_ignored_;
    return;
  }
  Sighting sighting;
  sighting.seen.id = node::node_id_of_field(presence.node_id());
  sighting.seen.through = child.who().name;
  if (!presence.connected()) sighting.seen.connected = false;
  sighting.seen.address = presence.address();
  sighting.bytes = 1 + message.bytes().size();  // never nothing: that is our own word
  note(std::move(sighting));
}

// ---- What goes down

void Server::spread(std::vector<wire::pb::Signed> documents) {
  for (const wire::pb::Signed& document : documents) {
    auto taken = trust_.take(document, around_.clock.wall());
    if (!taken) {
      log_.error("a document of this server is not believed by itself: {}", taken.error().message);
      continue;
    }
    const auto& body = taken->body;
    if (static_cast<node::DocumentType>(body.type()) != node::DocumentType::tick)
      ticks_.on_document(body.type(), {body.generation(), body.number()});
    const NodeId audience = node::node_id_of_field(body.audience());
    children_->for_each([&](node::Child& child) {
      if (body.audience().empty() || child.who().id == audience ||
          child.who().role == node::Role::gateway)
        child.send(message_of(wire::Type::document, document));
    });
    if (static_cast<node::DocumentType>(body.type()) != node::DocumentType::deny) continue;
    std::vector<std::pair<NodeId, Refusal>> out;
    children_->for_each([&](node::Child& child) {
      if (const auto denied = trust_.denied(child.who().id, child.who().tls_key))
        out.emplace_back(child.who().id, refusal_for(*denied, child.who().name));
    });
    for (const auto& [id, refusal] : out) children_->refuse(id, refusal);
  }
}

void Server::tick() {
  tick_timer_ = core_.after(kTickInterval, [this] { tick(); });
  const auto body = ticks_.next(around_.clock.wall(), generation_);
  spread({node::sign_document(body, delegate_.key, delegate_.number)});
}

void Server::trim() {
  trim_timer_ = core_.after(kTrimInterval, [this] { trim(); });
  if (!std::exchange(trimming_, true)) trim_some();
}

/// A bounded piece, behind the other work of the store thread; at once the next one while there is
/// more.
void Server::trim_some() {
  const WallTime older =
      around_.clock.wall() -
      std::chrono::duration_cast<std::chrono::milliseconds>(settings_.archive_age);
  store_thread_->post([this, alive = alive_, older, bytes_max = settings_.archive_bytes_max] {
    auto gone = store_->trim_archive(older, bytes_max, kTrimRows);
    if (!gone) log_.warning("the archive is not trimmed: {}", gone.error().message);
    // By way of the core loop: the end of the server does not wait for all of it.
    core_.post([this, alive, more = gone && *gone == kTrimRows] {
      if (!*alive) return;
      trimming_ = more;
      if (more) trim_some();
    });
  });
}

// ---- Our own measurements

Result<> Server::open_outbox() {
  // What we know of our own streams is in the store; the relay only helps to find the ends.
  relay::Relay known(identity_.self.id, {});
  auto streams = store_->streams(identity_.self.id);
  if (!streams) return std::unexpected(streams.error());
  for (const store::StreamRow& row : *streams) {
    wire::Settled settled;
    settled.coverage = {row.stream, row.applied};
    known.restored(settled, nullptr, core_.now());
  }
  auto choice = node::choose_epoch(around_.disk, settings_.state_dir, identity_.self.id, known, 0,
                                   around_.random);
  if (!choice) return std::unexpected(choice.error());
  outbox_.emplace(identity_.self.identity, choice->epoch);
  outbox_->resume(known);
  if (choice->opening) {
    const auto sealed = outbox_->seal_opening(*choice->opening, around_.clock.wall());
    arrived_.push_back({0, sealed.message, around_.clock.wall()});
    arrived_bytes_ += sealed.message->size();
  }
  return {};
}

void Server::on_sample(node::Sampler::Sample sample) {
  const WallTime now = around_.clock.wall();
  // No number was given yet: no hole.
  if (arrived_bytes_ > kArrivedBytesMax || own_again_.size() > kOwnAgainMax) return;
  Sighting sighting;
  sighting.seen.id = identity_.self.id;
  sighting.seen.time = now;
  sighting.seen.software = node::kSoftware;
  sighting.seen.certificate_not_after = identity_.credential.chain.front().not_after();
  note(std::move(sighting));
  for (const Payload& payload : sample.inventory)
    put(outbox_->seal(wire::Lane::state, wire::PayloadKind::logs, payload, now).message);
  for (const Payload& payload : sample.metrics)
    put(outbox_->seal(wire::Lane::metric, wire::PayloadKind::metrics, payload, now).message);
}

void Server::put(SharedBytes message) {
  arrived_bytes_ += message->size();
  arrived_.push_back({0, std::move(message), around_.clock.wall()});
  apply_next();
}

}  // namespace postern
