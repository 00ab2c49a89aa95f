#include "server/server.h"

#include "api/caller.h"
#include "base/quantity.h"
#include "node/status.h"
#include "server/open_store.h"

namespace postern {
namespace {

constexpr Duration kTrimInterval = std::chrono::minutes(1);
constexpr std::size_t kTrimRows = 2000;

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
    auto opened = open_store(settings, around.disk, [&log = around.log](const std::string& words) {
      log.warning("{}", words);
    });
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
      renewal_(identity_.self, around.random),
      changes_(around.random.u64()),
      started_(around.clock.wall()),
      store_(std::move(store)) {}

Server::~Server() {
  *alive_ = false;
  inbox_.reset();
  hook_.reset();
  watch_.reset();
  sampler_.reset();
  api_.reset();
  children_.reset();
  // What the end of the connections has just told; then the store thread does all it was given
  // (also with store_, registry_ and service_, which are still there) and ends.
  if (auto last = sightings_.take(); store_thread_ && !last.empty())
    store_thread_->post([this, last = std::move(last)] {
      if (auto noted = note_sightings(last, noting()); !noted)
        log_.warning("not noted: {}", noted.error().message);
    });
  store_thread_.reset();
}

/// Before the store thread exists: everything may be touched from here.
Result<> Server::start() {
  TlsContext::Options options;
  options.now = [&clock = around_.clock] { return clock.wall(); };
  revocation_files_.read(around_.disk, settings_.certificates, identity_.anchors,
                         identity_.credential.chain, around_.clock.wall());
  options.revocations = revocation_files_.lists();
  auto tls = around_.network.make_tls(identity_.credential, identity_.anchors, options);
  if (!tls) return std::unexpected(tls.error());
  tls_ = *tls;

  const WallTime now = around_.clock.wall();
  using Type = node::DocumentType;
  for (const auto type :
       {Type::delegation, Type::deny, Type::anchors, Type::approval, Type::configuration}) {
    auto documents = store_->documents(static_cast<std::uint32_t>(type));
    if (!documents) return std::unexpected(documents.error());
    for (const store::StoredDocument& stored : *documents) {
      ticks_.on_document(stored.type, {stored.generation, stored.number});
      wire::pb::Signed document;
      if (type == Type::approval || type == Type::configuration) continue;
      if (!document.ParseFromArray(stored.document.data(),
                                   static_cast<int>(stored.document.size())))
        continue;
      if (auto taken = trust_.take(document, now); !taken) {
        log_.error("a document of the store is not believed: {}", taken.error().message);
        put_off_.push_back(std::move(document));
      }
    }
  }
  auto generation = store_->generation();
  if (!generation) return std::unexpected(generation.error());
  generation_ = *generation;

  registry_.emplace(*store_, log_, around_.clock, identity_.self, delegate_, settings_.agents);
  registry_->set_expiry_grace(settings_.certificates.expiry_grace);
  if (auto loaded = registry_->load(); !loaded) return loaded;
  node_watch_.emplace(own_facts(), around_.clock.now(), settings_.alerts);
  ingest_.emplace(*store_, *registry_, log_, &*node_watch_);
  auto alerts = store_->alerts(false, kAlertsSearched);
  if (!alerts) return std::unexpected(alerts.error());
  auto nodes = store_->nodes();
  if (!nodes) return std::unexpected(nodes.error());
  holes_.resume(*alerts);
  node_watch_->resume(*nodes, *alerts);
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

  ServerService::About about{
      settings_.group,
      settings_.name,
      fmt::format("{}:{}", port.address, children_->port()),
      node::kSoftware,
      identity_.self.id,
      settings_.addresses,
      *identity_.root,
      identity_.anchors,
      now,
      identity_.credential.chain.front().not_after(),
      settings_.interval,
      std::chrono::floor<std::chrono::seconds>(settings_.certificates.lifetime),
      identity_.credential.chain.front().mark()};
  service_.emplace(*store_, *registry_, folder_, around_.clock, around_.random, std::move(about),
                   &holes_, &*node_watch_);
  join_desk_.emplace(*store_, *registry_, folder_, around_.clock, around_.random, log_);
  service_->set_listen(
      [this, alive = alive_](const api::ChangeQuery& query, std::shared_ptr<HttpStream> stream) {
        if (*alive) listen_to_changes(std::move(stream), query);
      });
  if (!settings_.api_socket.empty()) {
    auto local = UnixHttpServer::listen(
        core_, log_, settings_.api_socket,
        [this](HttpRequest request, Respond respond) {
          const UnixPeer peer = request.unix_peer.value_or(UnixPeer{65534, 65534, 0});
          if (!request.target.starts_with("/api/"))
            return respond(node::status_page(
                request, true, {[this] { return not_ready(); }, [this] { return own_health(); }}));
          if (peer.uid != 0 && over_rate(fmt::format("uid {}", peer.uid), respond)) return;
          // On the store thread, because it asks the user database.
          answer(
              std::move(request), [peer] { return api::local_caller(peer.uid, peer.gid); },
              std::move(respond));
        },
        api::socket_group());
    if (!local) return std::unexpected(local.error());
    api_ = std::move(*local);
  }

  log_.info("management server {} of group {} listens on {}:{}", settings_.name, settings_.group,
            port.address, children_->port());
  put_next();
  tick();
  look_timer_ = core_.after(kLookInterval, [this] { look(); });
  renewal_.use(identity_.credential.chain.front());
  look_at_certificate();
  take_anchors();
  if (around_.watch_certificate)
    watch_.emplace(core_, *store_thread_, settings_.state_dir, settings_.certificates.crl,
                   [this] { take_certificate(); });
  look_into_inbox();
  trim_timer_ = core_.after(kTrimInterval, [this] { trim(); });
  sampler_ = around_.samplers.start(
      core_, log_, identity_.self, Sampling{settings_.interval, {}},
      [this] { return own_health(); },
      [this](node::Sampler::Sample sample) { on_sample(std::move(sample)); });
  return {};
}

void Server::reload(const ServerSettings& settings) {
  const bool other_lists = settings_.certificates.crl != settings.certificates.crl;
  settings_.certificates = settings.certificates;
  if (watch_ && other_lists)
    watch_.emplace(core_, *store_thread_, settings_.state_dir, settings_.certificates.crl,
                   [this] { take_certificate(); });
  take_certificate();
  look_into_inbox();
  if (settings.interval != settings_.interval) {
    settings_.interval = settings.interval;
    sampler_->set(Sampling{settings.interval, {}});
    log_.info("interval is now {}", format_duration(settings.interval));
  }
  settings_.alerts = settings.alerts;
  store_thread_->post([this, own = own_facts(), limits = settings.alerts,
                       grace = settings.certificates.expiry_grace] {
    registry_->set_expiry_grace(grace);
    node_watch_->set_own(own);
    node_watch_->set_limits(limits);
  });
  settings_.archive_age = settings.archive_age;
  settings_.archive_bytes_max = settings.archive_bytes_max;
  settings_.api_from = settings.api_from;
  if (settings.agents != settings_.agents) {
    settings_.agents = settings.agents;
    store_thread_->post([this, policy = settings.agents] { registry_->set_policy(policy); });
  }
  if (settings.group != settings_.group || settings.name != settings_.name ||
      settings.state_dir != settings_.state_dir || settings.listen != settings_.listen ||
      settings.store != settings_.store ||
      settings.store_password_file != settings_.store_password_file ||
      settings.api_socket != settings_.api_socket)
    log_.warning(
        "group, name, state_dir, listen, store and api_socket change at the next restart only");
  log_.info("configuration reloaded");
}

void Server::stop(const std::string& why) {
  certificate_timer_.cancel();
  anchors_timer_.cancel();
  inbox_.reset();
  hook_.reset();
  watch_.reset();
  sampler_.reset();
  api_.reset();
  children_->stop(why);
}

std::string Server::status_words() const {
  return fmt::format("listens on port {}, {} children", children_->port(), children_->size());
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

}  // namespace postern
