#include "node/node.h"

#include <algorithm>

#include "base/quantity.h"
#include "model/measures.h"
#include "node/signed.h"
#include "node/strangers.h"

namespace postern::node {
namespace {

constexpr Duration kDiskAskedEvery = std::chrono::seconds(2);
constexpr Duration kDiskAnswerMax = std::chrono::seconds(6);

/// A gap record has to speak of what is in it, and an own batch may need one.
relay::Held held_of(const spool::Entry& entry) {
  relay::Held held{entry.stream, entry.sequence, entry.hash, entry.location, nullptr};
  if (!entry.summary) return held;
  held.previous = entry.summary->previous;
  held.first_time = entry.summary->first_time;
  held.last_time = entry.summary->last_time;
  held.records = entry.summary->records;
  return held;
}

/// Tails are kept for a rewind, never at the cost of more than a twentieth of the spool.
relay::Relay::Limits within(relay::Relay::Limits limits, std::uint64_t spool_bytes_max) {
  limits.tail_bytes_max = std::min(limits.tail_bytes_max, spool_bytes_max / 20);
  return limits;
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
      why_refused(credential->chain, *anchors,
                  {.now = around.clock.wall(), .name = name, .as_server = role != Role::agent});
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
  const Identity& own = node->identity_;
  node->revocation_files_.read(around.disk, node->settings_.certificates, own.anchors,
                               own.credential.chain, around.clock.wall());
  auto tls = node->make_tls(own.credential, own.anchors);
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
      relay_(identity_.self.id, within(around.relay_limits, settings_.spool_bytes_max)),
      started_(around.clock.wall()),
      uplink_(around.loops, around.network, around.log, around.random, identity_.self, relay_,
              *this),
      renewal_(identity_.self, around.random),
      revocation_files_(around.log) {}

Node::~Node() {
  *alive_ = false;  // what the spool still posts finds nobody
  spool_.reset();
}

Result<std::shared_ptr<const TlsContext>> Node::make_tls(const TlsCredential& credential,
                                                         const Anchors& anchors) {
  TlsContext::Options options;
  options.now = [&clock = around_.clock] { return clock.wall(); };
  options.revocations = revocation_files_.lists();
  return around_.network.make_tls(credential, anchors, std::move(options));
}

Result<> Node::open_spool() {
  trust_.load(around_.disk, around_.clock.wall());
  spool::Options options;
  options.bytes_max = settings_.spool_bytes_max;
  options.segment_bytes = around_.spool_segment_bytes;
  options.preallocate = true;
  std::vector<spool::Location> superfluous;
  auto opened = spool::Spool::open(
      around_.disk, log_, settings_.state_dir / "spool", options, [&](const spool::Entry& entry) {
        if (relay_.classify(entry.stream, entry.sequence, entry.hash) !=
            relay::Relay::Arrival::fresh)
          superfluous.push_back(entry.location);
        else
          relay_.added(held_of(entry));
      });
  if (!opened) return std::unexpected(opened.error());
  const std::uint64_t damaged = opened->spool->usage().quarantined;
  for (const auto& [stream, message] : opened->settled) {
    // Believed when it was written down. Not asked again: with a delegation that has ended, or
    // documents that are lost, the end of our own streams would be forgotten and their numbers
    // given a second time (rule D1).
    if (auto view = wire::read_settled(*message))
      relay_.restored(view->settled, message, core_.now());
  }
  spool_ = std::make_unique<spool::SpoolThread>(
      std::move(opened->spool), around_.workers.start("spool"),
      [&core = core_, alive = alive_](std::function<void()> task) {
        core.post([alive, task = std::move(task)] {
          if (*alive) task();
        });
      });
  spool_->release(std::move(superfluous));

  auto promised = read_head_number(around_.disk, settings_.state_dir);
  if (!promised) return std::unexpected(promised.error());
  head_numbers_ = HeadNumbers(*promised);
  auto choice = choose_epoch(around_.disk, settings_.state_dir, identity_.self.id, relay_, damaged,
                             around_.random);
  if (!choice) return std::unexpected(choice.error());
  const Origin::Holdings& holdings = *this;
  origin_.emplace(identity_.self.identity, holdings, around_.random, std::move(*choice));
  origin_->resume(relay_);
  log_.info("spool open: {} batches wait for the server, epoch {}", relay_.counts().held,
            origin_->epoch().ordinal);
  drive();
  return {};
}

void Node::start() {
  uplink_.set_parents(settings_.parents);
  sampler_ = around_.samplers.start(
      core_, log_, identity_.self, Sampling{settings_.interval, settings_.collectors},
      [this] { return own_health(); },
      [this](Sampler::Sample sample) { on_sample(std::move(sample)); });
  if (around_.events != nullptr)
    events_ = around_.events->start(core_, log_, identity_.self, settings_, *this);
  beat_timer_ = core_.after(settings_.interval, [this] { beat(); });
  look_at_disk();
  renewal_.use(tls_->credential()->chain.front());
  look_at_certificate();
  take_anchors();
  if (around_.watch_certificate)
    watch_.emplace(core_, *files_, settings_.state_dir, settings_.certificates.crl,
                   [this] { take_certificate(); });
  look_into_inbox();
}

void Node::stop(const std::string& why) {
  events_.reset();
  sampler_.reset();
  beat_timer_.cancel();
  disk_timer_.cancel();
  certificate_timer_.cancel();
  anchors_timer_.cancel();
  inbox_.reset();
  hook_.reset();
  watch_.reset();
  uplink_.stop(why);
}

std::string Node::status_words() const {
  if (uplink_.attached()) return fmt::format("attached to {}", uplink_.parent());
  return "no parent is attached; what is measured waits on disk";
}

void Node::reload(const NodeSettings& settings) {
  if (settings.group != settings_.group || settings.name != settings_.name ||
      settings.state_dir != settings_.state_dir || settings.listen != settings_.listen ||
      settings.spool_bytes_max != settings_.spool_bytes_max || settings.events != settings_.events)
    log_.warning(
        "group, name, state_dir, listen, spool.bytes_max and events change at the next restart "
        "only");
  const bool other_lists = settings_.certificates.crl != settings.certificates.crl;
  settings_.certificates = settings.certificates;
  if (watch_ && other_lists)
    watch_.emplace(core_, *files_, settings_.state_dir, settings_.certificates.crl,
                   [this] { take_certificate(); });
  take_certificate();
  look_into_inbox();
  const Sampling before{settings_.interval, settings_.collectors};
  const Sampling sampling{settings.interval, settings.collectors};
  if (sampling != before) {
    settings_.interval = settings.interval;
    settings_.collectors = settings.collectors;
    if (sampler_) sampler_->set(sampling);
  }
  if (sampling.interval != before.interval) {
    beat_timer_ = core_.after(settings_.interval, [this] { beat(); });
    log_.info("interval is now {}", format_duration(settings_.interval));
  }
  if (sampling.collectors != before.collectors) log_.info("the collectors' settings have changed");
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

/// The only sign of a disk that hangs is that nothing comes back.
void Node::look_at_disk() {
  disk_timer_ = core_.after(kDiskAskedEvery, [this] { look_at_disk(); });
  if (disk_asked_) {
    if (disk_hangs() && !std::exchange(disk_hung_, true))
      log_.error(
          "the disk under {} has not answered for {}; batches wait in memory and with the "
          "children until it does",
          settings_.state_dir.string(), format_duration(kDiskAnswerMax));
    return;
  }
  disk_asked_ = core_.now();
  spool_->ask([this] {
    disk_asked_.reset();
    if (std::exchange(disk_hung_, false)) log_.info("the disk answers again");
  });
}

bool Node::disk_hangs() const {
  return disk_asked_ && core_.now() - *disk_asked_ >= kDiskAnswerMax;
}

void Node::beat() {
  // As often as the parent asks, or more often.
  beat_timer_ =
      core_.after(std::min(settings_.interval, uplink_.head_interval()), [this] { beat(); });
  uplink_.send(head());
  confirm_older_epochs();
  spool_->release(relay_.trim_tails(core_.now()));
  look_at_space();
}

wire::Message Node::head() {
  const Self& self = identity_.self;
  const WallTime now = around_.clock.wall();
  wire::pb::Head head;
  head.set_node_id(field_of(self.id.bytes));
  head.set_number(head_numbers_.next(now));
  if (const auto promised = head_numbers_.to_promise())
    files_->post([this, promised = *promised] {
      if (auto kept = write_head_number(around_.disk, settings_.state_dir, promised); !kept)
        log_.warning("the number of heads is not kept: {}", kept.error().message);
    });
  head.set_issued_ms(to_ms(now));
  head.set_name(self.name);
  head.set_role(static_cast<std::uint32_t>(self.role));
  head.set_incarnation(self.incarnation);
  for (const wire::Lane lane : wire::kLanes) {
    const auto last = origin_->position(lane);
    if (!last) continue;
    auto* stream = head.add_streams();
    stream->set_lane(static_cast<std::uint32_t>(lane));
    stream->set_epoch_ordinal(origin_->epoch().ordinal);
    stream->set_epoch_random(origin_->epoch().random);
    stream->set_sealed(last->sequence);
    stream->set_hash(field_of(last->hash));
  }
  if (self.group_id) head.set_pinned_root_sha256(field_of(self.root_sha256));
  for (const auto& number : trust_.numbers()) {
    // Of anchors it is the ones that are in force: whoever rolls the CA over counts on it (W37).
    const bool anchors = number.type() == static_cast<std::uint32_t>(DocumentType::anchors);
    if (!anchors || Edition{number.generation(), number.number()} == anchors_in_force_)
      *head.add_documents() = number;
  }
  head.set_software(kSoftware);
  const Certificate& leaf = tls_->credential()->chain.front();
  head.set_tls_not_after_ms(to_ms(leaf.not_after()));
  head.set_tls_not_before_ms(to_ms(leaf.not_before()));
  head.set_tls_key_sha256(field_of(leaf.mark().tls_key));
  head.set_certificate_serial(field_of(serial_bytes(leaf.mark().serial)));
  head.set_certificate_issuer_sha256(field_of(leaf.mark().issuer));
  head.set_tls_key_kind(leaf.key_kind());
  head.set_renews(settings_.certificates.renew);
  if (renewal_.failures() != 0) {
    head.set_renewal_failures(renewal_.failures());
    head.set_renewal_trouble(harmless(last_certificate_words_));
  }
  if (const auto oldest = oldest_own()) head.set_oldest_unsettled_ms(to_ms(*oldest));
  const spool::Usage usage = spool_->usage();
  head.set_spool_bytes(usage.live_bytes);
  head.set_spool_bytes_max(usage.bytes_max);
  head.set_interval_ms(static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(settings_.interval).count()));

  const std::string bytes =
      sign(self.identity, kHeadContext, head.SerializeAsString()).SerializeAsString();
  return wire::make_message(wire::Type::head, wire::write_stamped({}, as_bytes(bytes)));
}

std::string Node::not_ready() const {
  if (disk_hangs()) return "the disk does not answer";
  if (disk_ails_) return "the spool takes no batches; the log says why";
  if (!uplink_.attached())
    return uplink_.last_failure().empty() ? "no parent is attached; the log says why"
                                          : "no parent is attached: " + uplink_.last_failure();
  return "";
}

std::optional<WallTime> Node::oldest_own() const {
  std::optional<WallTime> oldest;
  for (const wire::StreamKey& stream : relay_.streams()) {
    // Events have the times of their logs, which may be read long after they were written.
    if (stream.node != identity_.self.id || stream.lane == wire::Lane::event) continue;
    const auto held = relay_.held_ranges(stream);
    const relay::Held* first = held.empty() ? nullptr : relay_.copy_of(stream, held.front().first);
    // What was not looked at since the start has no time.
    if (first != nullptr && first->first_time != WallTime{})
      oldest = std::min(oldest.value_or(first->first_time), first->first_time);
  }
  return oldest;
}

double Node::oldest_own_s() const {
  const WallTime now = around_.clock.wall();
  return std::chrono::duration<double>(now - std::min(now, oldest_own().value_or(now))).count();
}

std::vector<Measurement> Node::own_health() {
  const spool::Usage usage = spool_->usage();
  const auto& counts = relay_.counts();
  const Origin::Counts own = origin_->counts();
  Measures m(around_.clock.wall(), started_);
  m.append(listener_.own_health());
  if (sampler_) m.append(sampler_->own_health());
  m.gauge("postern.parent.attached", "1", uplink_.attached() ? 1 : 0,
          "1 while a parent is attached.");
  m.gauge("postern.ready", "1", not_ready().empty() ? 1 : 0,
          "1 while this node delivers, as /readyz says.");
  m.gauge("postern.certificate.not_after", "s",
          to_ms(tls_->credential()->chain.front().not_after()) / 1000,
          "When the certificate in use ends, in seconds since 1970.");
  m.gauge("postern.spool.usage", "By", usage.bytes, "Bytes of the spool's files.");
  m.gauge("postern.spool.oldest.age", "s", oldest_own_s(),
          "Age of this node's own oldest batch that is not settled.");
  m.gauge("postern.spool.limit", "By", usage.bytes_max, "What the spool may take.");
  m.gauge("postern.spool.batches", "{batch}", counts.held,
          "Batches in the spool that are not settled.");
  m.gauge("postern.spool.quarantined", "{segment}", usage.quarantined,
          "Damaged segments that were put aside.");
  m.gauge("postern.spool.tails", "By", counts.tail_bytes,
          "Settled batches that are kept a while for a rewind.");
  m.counter("postern.relay.mismatches", "{interval}", counts.mismatches,
            "What a parent said of batches that are not ours.");
  m.counter("postern.relay.released", "{batch}", counts.released,
            "Batches given up to make room because the parent had stored them.");
  m.counter("postern.relay.shed", "{batch}", counts.shed, "Batches that were lost to make room.");
  m.counter("postern.origin.sealed", "{batch}", own_batches_,
            "Own batches that were sealed and are on the disk.");
  m.counter("postern.samples.dropped", "{sample}", own.samples_dropped,
            "Rounds of measurements that the disk did not take.");
  m.counter("postern.origin.sealed_again", "{batch}", own.sealed_again,
            "Own batches that were sealed again in a new epoch.");
  m.counter("postern.origin.evidence_refused", "{message}", own.evidence_refused,
            "Evidence against us that proved nothing.");
  return m.take();
}

}  // namespace postern::node
