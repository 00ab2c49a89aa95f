#include "node/node.h"

#include <algorithm>

#include "base/quantity.h"

namespace postern::node {
namespace {

constexpr Duration kDiskRetry = std::chrono::seconds(2);
constexpr Duration kRepairRetry =
    std::chrono::seconds(60);            // answers that mean "this cannot go on as it is"
constexpr std::size_t kSealedMax = 256;  // batches that wait for a disk that does not write

Measurement gauge(const char* name, const char* unit, std::int64_t value, WallTime now) {
  Measurement measurement;
  measurement.name = name;
  measurement.unit = unit;
  measurement.value = value;
  measurement.time = now;
  return measurement;
}

}  // namespace

Result<Identity> open_identity(const Surroundings& around, const std::filesystem::path& state,
                               Role role, const std::string& group, const std::string& name) {
  StateFolder folder(around.disk, state);
  if (auto ready = folder.prepare(); !ready) return std::unexpected(ready.error());
  auto key = folder.load_or_create_identity();
  if (!key) return std::unexpected(key.error());
  auto credential = folder.tls();
  if (!credential)
    return fail(credential.error().code,
                "{}; import one with: postern cert import --subject-name {} --state {}",
                credential.error().message, name, state.string());
  auto anchors = folder.anchors();
  if (!anchors)
    return fail(anchors.error().code,
                "{}; put the group file beside the certificate and import again",
                anchors.error().message);
  auto root = folder.group_root();
  if (!root) return std::unexpected(root.error());
  auto incarnation = next_incarnation(around.disk, state, around.random);
  if (!incarnation) return std::unexpected(incarnation.error());

  const auto wrong =
      why_refused(credential->chain, *anchors, {.now = around.clock.wall(), .name = name});
  if (wrong)
    around.log.error("this node's own certificate will be refused: {} ({})", wrong->words,
                     to_string(wrong->reason));
  if (!*root)
    around.log.warning(
        "no group root is pinned: this node sends data and believes nothing that comes back, so "
        "nothing is ever "
        "settled; import the group file");
  const NodeId id = key->node_id();
  const NodeId group_id = *root ? (*root)->node_id() : NodeId{};
  const Digest root_sha256 = *root ? (*root)->fingerprint() : Digest{};
  return Identity{Self{role, group, name, std::move(*key), id, group_id, root_sha256,
                       incarnation->first, incarnation->second},
                  std::move(*credential), *anchors, *root};
}

Result<std::unique_ptr<Node>> Node::open(Surroundings around, NodeSettings settings, Role role,
                                         Listener& listener) {
  auto identity = open_identity(around, settings.state_dir, role, settings.group, settings.name);
  if (!identity) return std::unexpected(identity.error());
  std::unique_ptr<Node> node(new Node(around, std::move(settings), std::move(*identity), listener));
  auto tls = node->make_tls(node->identity_.credential, node->identity_.anchors);
  if (!tls) return std::unexpected(tls.error());
  node->tls_ = *tls;
  if (auto opened = node->open_spool(); !opened) return std::unexpected(opened.error());
  return node;
}

Node::Node(Surroundings around, NodeSettings settings, Identity identity, Listener& listener)
    : around_(around),
      core_(around.loops.core()),
      log_(around.log),
      settings_(std::move(settings)),
      identity_(std::move(identity)),
      listener_(listener),
      files_(around.workers.start("files")),
      trust_(around.log, identity_.root, settings_.state_dir / "documents",
             [this](std::filesystem::path path, Bytes bytes) {
               files_->post([this, path = std::move(path), bytes = std::move(bytes)] {
                 auto made = around_.disk.make_directories(path.parent_path());
                 auto written = made ? around_.disk.write_file(path, bytes, 0640) : made;
                 if (!written) log_.warning("a document is not kept: {}", written.error().message);
               });
             }),
      relay_(identity_.self.id, {}),
      uplink_(around.loops, around.network, around.log, around.random, identity_.self, relay_,
              *this) {}

Node::~Node() {
  *alive_ = false;  // what the spool still posts finds nobody
  spool_.reset();
}

Result<std::shared_ptr<const TlsContext>> Node::make_tls(const TlsCredential& credential,
                                                         const Anchors& anchors) {
  TlsContext::Options options;
  options.now = [&clock = around_.clock] { return clock.wall(); };
  return around_.network.make_tls(credential, anchors, std::move(options));
}

Result<> Node::open_spool() {
  trust_.load(around_.disk, around_.clock.wall());
  spool::Options options;
  options.bytes_max = settings_.spool_bytes_max;
  auto opened = spool::Spool::open(around_.disk, log_, settings_.state_dir / "spool", options);
  if (!opened) return std::unexpected(opened.error());
  const std::uint64_t damaged = opened->spool->usage().quarantined;
  const std::size_t entries = opened->entries.size();
  for (const spool::Entry& entry : opened->entries) {
    if (relay_.classify(entry.stream, entry.sequence, entry.hash) != relay::Relay::Arrival::fresh)
      continue;
    relay_.added({entry.stream, entry.sequence, entry.hash, entry.location, nullptr});
  }
  std::vector<spool::Location> released;
  for (const auto& [stream, message] : opened->settled) {
    // Believed when it was written down. Not asked again: with a delegation that has ended, or
    // documents that are lost, the end of our own streams would be forgotten and their numbers
    // given a second time (rule D1).
    auto view = wire::read_settled(*message);
    if (!view) continue;
    for (const spool::Location& location : relay_.on_settled(view->settled, message).locations)
      released.push_back(location);
  }
  spool_ = std::make_unique<spool::SpoolThread>(
      std::move(opened->spool), around_.workers.start("spool"),
      [&core = core_, alive = alive_](std::function<void()> task) {
        core.post([alive, task = std::move(task)] {
          if (*alive) task();
        });
      });
  const std::size_t live = entries - released.size();
  spool_->release(std::move(released));

  auto choice = choose_epoch(around_.disk, settings_.state_dir, identity_.self.id, relay_, damaged,
                             around_.random);
  if (!choice) return std::unexpected(choice.error());
  outbox_.emplace(identity_.self.identity, choice->epoch);
  outbox_->resume(relay_);
  log_.info("spool open: {} batches wait for the server, epoch {}", live, choice->epoch.ordinal);
  if (choice->opening) queue(outbox_->seal_opening(*choice->opening, around_.clock.wall()));
  return {};
}

void Node::start() {
  uplink_.set_parents(settings_.parents);
  sampler_ = around_.samplers.start(
      core_, log_, identity_.self, settings_.interval, [this] { return own_health(); },
      [this](Sampler::Sample sample) { on_sample(std::move(sample)); });
  beat_timer_ = core_.after(settings_.interval, [this] { beat(); });
}

void Node::stop(const std::string& why) {
  sampler_.reset();
  beat_timer_.cancel();
  uplink_.stop(why);
}

void Node::reload(const NodeSettings& settings) {
  if (settings.group != settings_.group || settings.name != settings_.name ||
      settings.state_dir != settings_.state_dir || settings.listen != settings_.listen ||
      settings.spool_bytes_max != settings_.spool_bytes_max)
    log_.warning(
        "group, name, state_dir, listen and spool.bytes_max change at the next restart only");
  StateFolder folder(around_.disk, settings_.state_dir);
  auto credential = folder.tls();
  auto anchors = folder.anchors();
  if (credential && anchors) {
    if (auto tls = make_tls(*credential, *anchors)) {
      tls_ = *tls;
      const Certificate& leaf = credential->chain.front();
      log_.info("certificate {} valid until {} is used for new connections", leaf.serial(),
                to_rfc3339(leaf.not_after()));
    } else {
      log_.error("the certificate is not taken over: {}", tls.error().message);
    }
  } else {
    log_.error("the certificate is not taken over: {}",
               credential ? anchors.error().message : credential.error().message);
  }
  if (settings.interval != settings_.interval) {
    settings_.interval = settings.interval;
    if (sampler_) sampler_->set_interval(settings_.interval);
    beat_timer_ = core_.after(settings_.interval, [this] { beat(); });
    log_.info("interval is now {}", format_duration(settings_.interval));
  }
  if (settings.parents != settings_.parents) {
    settings_.parents = settings.parents;
    std::string names;
    for (const ParentSetting& parent : settings_.parents)
      names += (names.empty() ? "" : ", ") + parent.name;
    log_.info("parents are now {}", names);
    uplink_.set_parents(settings_.parents);
  }
  log_.info("configuration reloaded");
}

// ---- What we make

void Node::on_sample(Sampler::Sample sample) {
  const std::size_t waiting =
      queues_[0].sealed.size() + queues_[1].sealed.size() + queues_[2].sealed.size();
  if (waiting >= kSealedMax) {
    // Dropped before it had a number: no hole, but said aloud (rule D7).
    if (samples_dropped_++ % 60 == 0)
      log_.error("the disk takes nothing; measurements are not kept ({} rounds so far)",
                 samples_dropped_);
    return;
  }
  const WallTime now = around_.clock.wall();
  for (const Payload& payload : sample.inventory)
    queue(outbox_->seal(wire::Lane::state, wire::PayloadKind::logs, payload, now));
  for (const Payload& payload : sample.metrics)
    queue(outbox_->seal(wire::Lane::metric, wire::PayloadKind::metrics, payload, now));
}

void Node::queue(Outbox::Sealed sealed) {
  const wire::Lane lane = sealed.stream.lane;
  relay_.writing(sealed.stream, sealed.sequence, sealed.hash);
  queues_[wire::index_of(lane)].sealed.push_back(std::move(sealed));
  write_next(lane);
}

/// One at a time: a later batch must never be on disk before an earlier one of its lane (rule D1).
void Node::write_next(wire::Lane lane) {
  Queue& queue = queues_[wire::index_of(lane)];
  if (queue.writing || queue.sealed.empty()) return;
  queue.writing = true;
  const Outbox::Sealed& front = queue.sealed.front();
  spool_->append(
      {front.stream, front.sequence, front.hash, front.message},
      [this, lane](Result<spool::Location> stored) {
        Queue& writer = queues_[wire::index_of(lane)];
        writer.writing = false;
        if (!stored) {
          if (!disk_ails_)
            log_.error("the spool does not take a batch, trying again: {}", stored.error().message);
          disk_ails_ = true;
          writer.retry = core_.after(kDiskRetry, [this, lane] { write_next(lane); });
          return;
        }
        if (disk_ails_) log_.info("the spool takes batches again");
        disk_ails_ = false;
        Outbox::Sealed done = std::move(writer.sealed.front());
        writer.sealed.pop_front();
        relay_.added({done.stream, done.sequence, done.hash, *stored, std::move(done.message)});
        uplink_.pump();
        write_next(lane);
      });
}

void Node::beat() {
  // As often as the parent asks, or more often.
  beat_timer_ =
      core_.after(std::min(settings_.interval, uplink_.head_interval()), [this] { beat(); });
  uplink_.send(head());
}

wire::Message Node::head() {
  const Self& self = identity_.self;
  const WallTime now = around_.clock.wall();
  wire::pb::Head head;
  head.set_node_id(field_of(self.id.bytes));
  // Rises across restarts too, as long as the clock is not set back by more than the pause.
  head_number_ = std::max(head_number_ + 1, static_cast<std::uint64_t>(to_ms(now)));
  head.set_number(head_number_);
  head.set_issued_ms(to_ms(now));
  head.set_name(self.name);
  head.set_role(static_cast<std::uint32_t>(self.role));
  head.set_incarnation(self.incarnation);
  for (const wire::Lane lane : wire::kLanes) {
    // What is on disk: a batch that only exists in memory is not sealed for anybody else.
    const auto last = relay_.last_of(outbox_->stream(lane));
    if (!last) continue;
    auto* stream = head.add_streams();
    stream->set_lane(static_cast<std::uint32_t>(lane));
    stream->set_epoch_ordinal(outbox_->epoch().ordinal);
    stream->set_epoch_random(outbox_->epoch().random);
    stream->set_sealed(last->first);
    stream->set_hash(field_of(last->second));
  }
  if (self.group_id) head.set_pinned_root_sha256(field_of(self.root_sha256));
  for (const auto& number : trust_.numbers()) *head.add_documents() = number;
  head.set_software(kSoftware);
  head.set_tls_not_after_ms(to_ms(tls_->credential()->chain.front().not_after()));
  const spool::Usage usage = spool_->usage();
  head.set_spool_bytes(usage.live_bytes);
  head.set_spool_bytes_max(usage.bytes_max);
  head.set_interval_ms(static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(settings_.interval).count()));

  wire::pb::Signed message;
  message.set_body(head.SerializeAsString());
  message.set_signature(field_of(self.identity.sign(kHeadContext, as_bytes(message.body()))));
  const std::string bytes = message.SerializeAsString();
  return wire::make_message(wire::Type::head, wire::write_stamped({}, as_bytes(bytes)));
}

std::vector<Measurement> Node::own_health() {
  const WallTime now = around_.clock.wall();
  const spool::Usage usage = spool_->usage();
  const auto& counts = relay_.counts();
  std::vector<Measurement> all = listener_.own_health();
  all.push_back(gauge("postern.spool.usage", "By", static_cast<std::int64_t>(usage.bytes), now));
  all.push_back(
      gauge("postern.spool.limit", "By", static_cast<std::int64_t>(usage.bytes_max), now));
  all.push_back(
      gauge("postern.spool.batches", "{batch}", static_cast<std::int64_t>(counts.held), now));
  all.push_back(gauge("postern.spool.quarantined", "{segment}",
                      static_cast<std::int64_t>(usage.quarantined), now));
  all.push_back(gauge("postern.relay.mismatches", "{interval}",
                      static_cast<std::int64_t>(counts.mismatches), now));
  all.push_back(gauge("postern.samples.dropped", "{sample}",
                      static_cast<std::int64_t>(samples_dropped_), now));
  return all;
}

// ---- What the parent says

std::optional<wire::pb::Signed> Node::own_approval() {
  auto approval = trust_.approval(identity_.self.id);
  if (!approval) return std::nullopt;
  return approval->document;
}

void Node::take(const wire::pb::Signed& document) {
  if (!trust_.pinned()) return;  // it obeys nothing; said at the start
  auto taken = trust_.take(document, around_.clock.wall());
  if (!taken) {
    log_.warning("a document from {} is not believed: {}", uplink_.parent(), taken.error().message);
    return;
  }
  if (taken->is_new) listener_.on_document(document, taken->body);
}

void Node::on_attached(const wire::pb::Welcome& welcome) {
  // Delegations first: everything else is signed under them.
  for (const bool delegations : {true, false})
    for (const auto& document : welcome.documents()) {
      wire::pb::DocumentBody body;
      if (!body.ParseFromString(document.body())) continue;
      if ((body.type() == static_cast<std::uint32_t>(DocumentType::delegation)) == delegations)
        take(document);
    }
  uplink_.send(head());
  listener_.on_attached();
}

void Node::on_detached(const std::string&) { listener_.on_path_changed(); }

void Node::on_refused(const std::string&, wire::Refusal, const std::string&) {}

void Node::on_parent_message(const wire::Message& message) {
  const auto parse = [&](google::protobuf::MessageLite& into) {
    return into.ParseFromArray(message.bytes().data(), static_cast<int>(message.bytes().size()));
  };
  switch (message.type) {
    case wire::Type::stored:
      return on_stored(message);
    case wire::Type::settled:
      return on_settled(message);
    case wire::Type::answer:
      return on_answer(message);
    case wire::Type::document: {
      wire::pb::Signed document;
      if (parse(document)) take(document);
      return;
    }
    case wire::Type::reply: {
      wire::pb::Reply reply;
      if (parse(reply)) listener_.on_reply(reply);
      return;
    }
    case wire::Type::path: {
      wire::pb::Path path;
      if (!parse(path)) return;
      uplink_.set_path({path.path().begin(), path.path().end()});
      listener_.on_path_changed();
      return;
    }
    default:
      log_.debug("{} from the parent is not used by this version", wire::to_string(message.type));
  }
}

void Node::on_stored(const wire::Message& message) {
  auto list = wire::decode_coverages(message.bytes());
  if (!list) {
    log_.warning("a stored from {} cannot be read: {}", uplink_.parent(), list.error().message);
    return;
  }
  for (const wire::Coverage& coverage : *list) relay_.on_stored(coverage);
}

void Node::on_settled(const wire::Message& message) {
  auto view = wire::read_settled(message.bytes());
  if (!view) {
    log_.warning("a settled from {} cannot be read: {}", uplink_.parent(), view.error().message);
    return;
  }
  if (auto believed = trust_.believe(*view, around_.clock.wall()); !believed) {
    log_.warning("a settled from {} is not believed: {}", uplink_.parent(),
                 believed.error().message);
    return;
  }
  const wire::StreamKey stream = view->settled.coverage.stream;
  relay::Relay::Release release = relay_.on_settled(view->settled, message.body);
  spool_->release(std::move(release.locations));
  // One that says less than what is known may be a replay: it is neither kept nor passed on.
  if (!release.accepted) return;
  spool_->note_settled(stream, message.body);
  listener_.on_settled(stream, message.body);
}

void Node::on_answer(const wire::Message& message) {
  wire::pb::Answer answer;
  if (!answer.ParseFromArray(message.bytes().data(), static_cast<int>(message.bytes().size())))
    return;
  Reader in(as_bytes(answer.stream()));
  auto stream = wire::StreamKey::read(in);
  if (!stream || in.failed()) return;
  const bool ours = stream->node == identity_.self.id;
  switch (answer.verdict()) {
    case 1:  // copy refused
      log_.error("{} refuses our copy of batch {} of {}: {}", uplink_.parent(), answer.sequence(),
                 stream->text(), answer.words());
      if (ours) {
        // The origin's copy is the last one: it stays, whatever a hop says (rule D3).
        relay_.on_not_yet(*stream, answer.sequence(), core_.now() + kRepairRetry);
      } else if (auto location = relay_.on_copy_refused(*stream, answer.sequence(),
                                                        digest_of_field(answer.hash()))) {
        spool_->release({*location});
        listener_.on_lost(*stream);
      }
      return;
    case 2:
      log_.error("the management server refuses batch {} of {} for good: {}", answer.sequence(),
                 stream->text(), answer.words());
      return;  // it is settled as refused; the signed word releases it
    default: {
      const auto wait = std::clamp<Duration>(std::chrono::milliseconds(answer.retry_after_ms()),
                                             std::chrono::seconds(1), kRepairRetry);
      relay_.on_not_yet(*stream, answer.sequence(), core_.now() + wait);
      log_.debug("batch {} of {} is to be sent again: {}", answer.sequence(), stream->text(),
                 answer.words());
    }
  }
}

void Node::read_from_spool(const relay::Held& held) {
  spool_->read(
      held.location, [this, stream = held.stream, sequence = held.sequence](Result<Bytes> bytes) {
        if (bytes) {
          relay_.loaded(stream, sequence, std::make_shared<const Bytes>(std::move(*bytes)));
        } else if (bytes.error().code == Errc::corrupt) {
          log_.error("batch {} of {} cannot be read from the spool: {}", sequence, stream.text(),
                     bytes.error().message);
          if (auto location = relay_.unreadable(stream, sequence)) spool_->release({*location});
          listener_.on_lost(stream);
        } else {
          relay_.read_failed(stream, sequence, core_.now() + kDiskRetry);
        }
        uplink_.pump();
      });
}

}  // namespace postern::node
