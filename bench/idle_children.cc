// What an idle child costs a gateway: resident bytes per connection, and CPU per handshake.
//
//   idle_children [COUNT]        default 2000
//
// Runs a real gateway in a process of its own (temporary state folder, 127.0.0.1, port of the
// kernel's choice), attaches COUNT children with identities, certificates and approvals of their
// own over real TLS, waits until they are quiet, and prints what the gateway's process grew by.

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "gateway/gateway.h"
#include "identity/authority.h"
#include "node/program.h"

namespace postern {
namespace {

constexpr const char* kGroup = "bench";
constexpr const char* kGatewayName = "gw.bench.example";
constexpr std::size_t kDialsAtOnce = 8;

struct Group {
  PrivateKey root = PrivateKey::generate();
  PrivateKey delegate = PrivateKey::generate();
  CertificateAuthority authority;
  Anchors anchors;
};

TlsCredential credential_for(const Group& group, const std::string& name, const Clock& clock,
                             Random& random) {
  const TlsKey key = TlsKey::generate(TlsKey::Kind::ec);
  const std::string csr = make_request(key, name).value();
  return {
      key,
      {group.authority.sign(as_bytes(csr), {.name = name, .now = clock.wall()}, random).value()}};
}

wire::pb::Signed document(const Group& group, node::DocumentType type, const std::string& audience,
                          std::uint64_t number, const std::string& payload, const PrivateKey& key,
                          std::uint64_t signer) {
  wire::pb::DocumentBody body;
  body.set_version(1);
  body.set_type(static_cast<std::uint32_t>(type));
  body.set_group_id(node::field_of(group.root.node_id().bytes));
  body.set_audience(audience);
  body.set_generation(1);
  body.set_number(number);
  body.set_payload(payload);
  return node::sign_document(body, key, signer);
}

wire::pb::Signed approval_of(const Group& group, const node::Self& self, std::uint64_t number) {
  wire::pb::Approval approval;
  approval.set_node_id(node::field_of(self.id.bytes));
  approval.set_identity_key(node::field_of(self.identity.public_key().spki()));
  approval.set_name(self.name);
  approval.set_role(static_cast<std::uint32_t>(node::Role::agent));
  return document(group, node::DocumentType::approval, approval.node_id(), number,
                  approval.SerializeAsString(), group.delegate, 1);
}

/// The state folder of a gateway that has been set up and has met its group.
void prepare(const Group& group, const std::filesystem::path& state, const Clock& clock,
             Random& random) {
  PosixDisk disk;
  StateFolder folder(disk, state);
  folder.prepare().value();
  folder.install_anchors(group.anchors).value();
  folder.pin_group_root(group.root.public_key()).value();
  folder.install_tls(credential_for(group, kGatewayName, clock, random)).value();
  wire::pb::Delegation delegation;
  delegation.set_number(1);
  delegation.set_public_key(node::field_of(group.delegate.public_key().spki()));
  delegation.add_scopes(static_cast<std::uint32_t>(node::Scope::documents));
  const auto sealed = document(group, node::DocumentType::delegation, "", 1,
                               delegation.SerializeAsString(), group.root, 0)
                          .SerializeAsString();
  disk.make_directories(state / "documents").value();
  disk.write_file(state / "documents" / "delegation-1.signed", as_bytes(sealed), 0640).value();
}

std::uint64_t status_kib(pid_t pid, const std::string& key) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key + ":")) return std::stoull(line.substr(key.size() + 1));
  return 0;
}

double cpu_seconds(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(stat)), {});
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string skip;
  for (int i = 0; i < 11; ++i) fields >> skip;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

/// Dials one after the other, says hello, and keeps what was welcomed.
class Crowd final : ChannelHandler {
 public:
  Crowd(Loops& loops, const Group& group, std::uint16_t port, std::size_t count, const Clock& clock,
        Random& random)
      : group_(group), port_(port), count_(count), clock_(clock), random_(random), dialer_(loops) {}

  void start() {
    for (std::size_t i = 0; i < kDialsAtOnce; ++i) next();
  }
  std::size_t attached() const { return attached_; }
  std::size_t failed() const { return failed_; }

 private:
  void next() {
    if (begun_ == count_) return;
    const std::size_t number = ++begun_;
    const std::string name = fmt::format("a{}.bench.example", number);
    PrivateKey key = PrivateKey::generate();
    const NodeId id = key.node_id();
    auto self = std::make_shared<node::Self>(
        node::Self{node::Role::agent, kGroup, name, std::move(key), id, group_.root.node_id(),
                   group_.root.public_key().fingerprint(), number, 0});
    auto tls = TlsContext::create(credential_for(group_, name, clock_, random_), group_.anchors,
                                  {.now = [this] { return clock_.wall(); }})
                   .value();
    dialer_.dial({"127.0.0.1", port_, kGatewayName, tls},
                 [this, self, tls, number](const DialResult& result) {
                   if (!result) {
                     std::fprintf(stderr, "idle_children: %s\n", result.error().words.c_str());
                     ++failed_;
                     return next();
                   }
                   (*result)->set_handler(this);
                   wire::pb::Hello hello;
                   hello.set_group(kGroup);
                   hello.set_role(static_cast<std::uint32_t>(node::Role::agent));
                   hello.set_claim(1);
                   hello.set_name(self->name);
                   hello.set_identity_key(node::field_of(self->identity.public_key().spki()));
                   *hello.mutable_statement() =
                       self->statement(tls->credential()->key.spki_sha256(), clock_.wall());
                   hello.set_proof(self->proof((*result)->peer().exporter, true));
                   hello.set_incarnation(number);
                   hello.set_n(1);
                   *hello.mutable_approval() = approval_of(group_, *self, number);
                   (*result)->send(node::message_of(wire::Type::hello, hello));
                   channels_.push_back(*result);
                 });
  }
  void on_message(Channel&, wire::Message message) override {
    if (message.type != wire::Type::welcome) return;
    ++attached_;
    next();
  }
  void on_refused(Channel&, const RefusalNotice& notice) override {
    std::fprintf(stderr, "idle_children: refused: %s\n", notice.words.c_str());
    ++failed_;
    next();
  }
  void on_closed(Channel&, const Error&) override {}

  const Group& group_;
  std::uint16_t port_;
  std::size_t count_, begun_ = 0, attached_ = 0, failed_ = 0;
  const Clock& clock_;
  Random& random_;
  SocketDialer dialer_;
  std::vector<std::shared_ptr<Channel>> channels_;
};

int run_gateway(const std::filesystem::path& state, int port_pipe) {
  NodeSettings settings;
  settings.group = kGroup;
  settings.name = kGatewayName;
  settings.state_dir = state;
  settings.listen = {"127.0.0.1", 0};
  settings.parents = {{"nobody.bench.example", {"127.0.0.1", 9}}};
  settings.interval = std::chrono::hours(1);
  settings.log_level = Level::error;
  return node::run_program(settings.log_level, std::max(1u, std::thread::hardware_concurrency()),
                           settings.state_dir,
                           [&](node::Surroundings around) -> Result<node::Running> {
                             auto gateway = Gateway::open(around, settings);
                             if (!gateway) return std::unexpected(gateway.error());
                             const std::uint16_t port = (*gateway)->port();
                             if (::write(port_pipe, &port, sizeof(port)) != sizeof(port))
                               return fail(Errc::unavailable, "the bench is gone");
                             std::shared_ptr<Gateway> shared = std::move(*gateway);
                             return node::Running{shared, {}, {}};
                           });
}

int main_of(std::size_t count) {
  const SystemClock clock;
  SystemRandom random;
  auto authority = CertificateAuthority::create(kGroup, clock.wall(), random).value();
  auto anchors = Anchors::from_certificates({authority.certificate()}).value();
  const Group group{PrivateKey::generate(), PrivateKey::generate(), std::move(authority), anchors};
  std::string folder = (std::filesystem::temp_directory_path() / "postern-idle-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) return 1;
  prepare(group, folder, clock, random);

  int port_pipe[2];
  if (::pipe(port_pipe) != 0) return 1;
  const pid_t gateway = ::fork();
  if (gateway == 0) ::_exit(run_gateway(folder, port_pipe[1]));
  std::uint16_t port = 0;
  if (::read(port_pipe[0], &port, sizeof(port)) != sizeof(port)) return 1;

  Loop core("crowd", clock);
  {
    Loops loops(core, 1, clock);
    Crowd warm(loops, group, port, 50, clock, random),
        crowd(loops, group, port, count, clock, random);
    std::uint64_t before = 0;
    double cpu_before = 0;
    Loop::Timer timer;
    bool measuring = false;
    std::function<void()> watch = [&] {
      timer = core.after(std::chrono::milliseconds(200), [&] { watch(); });
      if (!measuring && warm.attached() + warm.failed() == 50) {
        measuring = true;  // what the first connections cost once for all is not the question
        before = status_kib(gateway, "RssAnon");
        cpu_before = cpu_seconds(gateway);
        crowd.start();
      } else if (measuring && crowd.attached() + crowd.failed() == count) {
        timer = core.after(std::chrono::seconds(3), [&] { core.stop(); });
      }
    };
    warm.start();
    watch();
    core.run();
    const std::uint64_t after = status_kib(gateway, "RssAnon");
    std::printf("%zu idle children, %zu failed\n", crowd.attached(), crowd.failed());
    std::printf("resident bytes per idle child    %.0f\n",
                static_cast<double>(after - before) * 1024 /
                    static_cast<double>(std::max<std::size_t>(1, crowd.attached())));
    std::printf("gateway CPU per attach           %.2f ms\n",
                (cpu_seconds(gateway) - cpu_before) * 1000 /
                    static_cast<double>(std::max<std::size_t>(1, crowd.attached())));
  }
  ::kill(gateway, SIGKILL);
  ::waitpid(gateway, nullptr, 0);
  std::filesystem::remove_all(folder);
  return 0;
}

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
  return postern::main_of(argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 2000);
}
