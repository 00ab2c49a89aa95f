#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <boost/json.hpp>
#include <filesystem>
#include <iterator>
#include <map>
#include <sstream>

#include "api/fake_service.h"
#include "api/router.h"
#include "base/random.h"
#include "cli/seed_tools.h"
#include "cli/world.h"
#include "identity/authority.h"
#include "identity/group_file.h"
#include "spool/spool.h"

namespace postern::cli {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr const char* kTool = "Microsoft.EnterpriseManagement.GatewayApprovalTool.exe";
constexpr const char* kServer = "/ManagementServerName=ms1.home.example";
constexpr const char* kGateway = "/GatewayName=GW1.dmz.example";

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "postern-cli-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// The tool in front of the real router and a management group in memory.
class Tool : public testing::Test {
 protected:
  int run(std::vector<std::string> arguments) {
    out_.str("");
    err_.str("");
    return cli::run(arguments, world_);
  }
  int postern(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "/usr/bin/postern");
    return run(std::move(arguments));
  }
  std::string out() const { return out_.str(); }
  std::string err() const { return err_.str(); }
  std::string file(const std::string& name) { return (folder_.path() / name).string(); }
  std::string content(const fs::path& path) { return to_string(ByteView(*disk_.read_file(path))); }

  TemporaryFolder folder_;
  api::FakeService service_;
  api::Caller caller_{0, 0, "root", api::Scope::administrate};
  std::optional<Error> unreachable_;
  std::string socket_;  // that was asked last
  ServerAddress asked_;
  std::string authorization_;
  std::map<std::string, std::string> environment_;
  int drawings_ = 1;
  int watches_ = 0;
  FakeClock clock_;
  PosixDisk disk_;
  std::ostringstream out_, err_;
  World world_{
      .out = out_,
      .err = err_,
      .clock = clock_,
      .disk = disk_,
      .environment = [this](const std::string& name) -> std::optional<std::string> {
        const auto found = environment_.find(name);
        if (found == environment_.end()) return std::nullopt;
        return found->second;
      },
      .send = [this](const ServerAddress& to, const HttpRequest& request) -> Result<HttpResponse> {
        socket_ = to.unix_path;
        asked_ = to;
        authorization_ = std::string(request.header("authorization").value_or(""));
        if (unreachable_) return std::unexpected(*unreachable_);
        return api::handle(request, caller_, service_);
      },
      .pause =
          [this](std::chrono::seconds time) {
            clock_.advance(time);
            return --drawings_ > 0;
          },
      .on_watch = [this] { ++watches_; },
      .terminal = false,
      .home = (folder_.path() / "lib").string(),
      .settings = (folder_.path() / "etc").string(),
  };
};

TEST_F(Tool, AnApprovedGatewayStandsInInventoryAndTopology) {
  EXPECT_EQ(postern({"gateway", "approve", "gw1.dmz.example", "--parent", "ms1.home.example"}), 0);
  EXPECT_THAT(out(), HasSubstr("gw1.dmz.example is approved as gateway"));
  EXPECT_EQ(postern({"agent", "approve", "web1.dmz.example", "--parent", "gw1.dmz.example"}), 0);
  EXPECT_EQ(postern({"inventory"}), 0);
  EXPECT_THAT(out(), HasSubstr("gw1.dmz.example   gateway  never connected  unknown  -"));
  EXPECT_THAT(
      out(), HasSubstr("ms1.home.example  server   connected        unknown  just now, 08:00:00Z"));
  EXPECT_EQ(postern({"topology"}), 0);
  EXPECT_THAT(out(), HasSubstr("\n`- gw1.dmz.example"));
  EXPECT_THAT(out(), HasSubstr("\n   `- web1.dmz.example"));
}

TEST_F(Tool, CertificatesAreListedWithTheNextToEndInFront) {
  service_.nodes.clear();
  for (const auto& [name, hours] :
       std::vector<std::pair<const char*, int>>{{"a1.dmz.example", 0},
                                                {"a2.dmz.example", 240},
                                                {"a3.dmz.example", 5},
                                                {"a4.dmz.example", -1}}) {
    auto node = api::FakeService::agent_node(name);
    node.path = {"gw1.dmz.example", "ms1.home.example"};
    if (hours != 0) node.certificate_not_after = clock_.wall() + std::chrono::hours(hours);
    if (hours != 0) node.certificate_sha256 = std::string(64, 'a');
    service_.nodes.push_back(node);
  }
  EXPECT_EQ(postern({"cert", "list"}), 0);
  const std::string text = out();
  const std::vector<std::size_t> places{
      text.find("a4.dmz.example  agent  expired"), text.find("a3.dmz.example  agent  5 h"),
      text.find("a2.dmz.example  agent  10 d"), text.find("a1.dmz.example  agent  -")};
  EXPECT_TRUE(std::ranges::is_sorted(places)) << text;
  EXPECT_NE(places.back(), std::string::npos) << text;
}

TEST_F(Tool, HealthIsInInventoryTopologyAndOnTheNodesOwnPage) {
  api::NodeSummary agent = api::FakeService::server_node();
  agent.name = "web1.dmz.example";
  agent.role = api::Role::agent;
  agent.via = "gw1.dmz.example";
  service_.nodes.push_back(agent);
  service_.nodes[0].health = api::Health::critical;
  api::TopologyNode well, lost, unknown;
  well.name = "ms1.home.example";
  well.connected = true;
  well.health = api::Health::healthy;
  lost.name = "gw1.dmz.example";
  lost.health = api::Health::critical;
  unknown.name = "web1.dmz.example";
  unknown.via = "gw1.dmz.example";
  service_.tree = {well, lost, unknown};
  EXPECT_EQ(postern({"inventory"}), 0);
  EXPECT_THAT(out(), HasSubstr("connected  critical  "));
  EXPECT_THAT(out(), HasSubstr("connected  unknown   "));
  EXPECT_EQ(postern({"topology"}), 0);
  EXPECT_THAT(out(), HasSubstr("ms1.home.example  agent  connected "));
  EXPECT_THAT(out(), HasSubstr("gw1.dmz.example   agent  critical "));
  EXPECT_THAT(out(), HasSubstr("web1.dmz.example  agent  unknown  "));
  EXPECT_EQ(postern({"agent", "show", "web1.dmz.example"}), 0);
  EXPECT_THAT(out(), HasSubstr("health       unknown via gw1.dmz.example\n"));
}

TEST_F(Tool, OneServerIsShown) {
  EXPECT_EQ(postern({"server", "show", "MS1.home.example"}), 0);
  EXPECT_THAT(out(), HasSubstr("name         ms1.home.example\n"));
  EXPECT_THAT(out(), HasSubstr("\ngeneration   "));
  EXPECT_EQ(postern({"server", "show", "gw1.dmz.example"}), 1);
  EXPECT_THAT(err(), HasSubstr("there is no management server gw1.dmz.example"));
}

TEST_F(Tool, FailoverParentsFollowThePrimary) {
  service_.nodes.push_back(api::FakeService::server_node());
  service_.nodes.back().name = "ms2.home.example";
  EXPECT_EQ(postern({"gateway", "approve", "gw1.dmz.example", "--parent", "ms1.home.example",
                     "--failover", "ms2.home.example"}),
            0);
  EXPECT_THAT(service_.last_gateway.parents,
              testing::ElementsAre("ms1.home.example", "ms2.home.example"));
}

TEST_F(Tool, JsonIsTheApisAnswerWhereverTheOptionStands) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--output", "json", "inventory", "--role", "server"},
        {"inventory", "--role", "server", "--output", "json"}}) {
    EXPECT_EQ(postern(arguments), 0);
    const auto answer = boost::json::parse(out());
    EXPECT_EQ(answer.at("items").as_array().size(), 1u);
    EXPECT_EQ(answer.at("items").at(0).at("last_seen").as_string(), "2027-01-15T08:00:00.000Z");
  }
  EXPECT_EQ(postern({"--output", "yaml", "server", "list"}), 0);
  EXPECT_THAT(out(), HasSubstr("- \"name\": \"ms1.home.example\""));
}

TEST_F(Tool, WrongUsageIsTwoAndSaysWhatIsWrong) {
  const std::vector<std::string> cases[] = {
      {},
      {"fly"},
      {"gateway"},
      {"gateway", "approve", "gw1.dmz.example"},
      {"gateway", "approve", "--parent", "ms1.home.example"},
      {"inventory", "--role", "king"},
      {"inventory", "--colour"},
      {"inventory", "--watch", "0"},
      {"--output", "xml", "inventory"},
      {"cert", "show"},
      {"cert", "request"},
      {"cert", "import", "--subject-name", "a.example", "--role", "agent", "--state", "/srv"},
      {"inventory", "--server", "https://ms1.home.example"},
      {"inventory", "--server", "tcp:1"},
      {"inventory", "--watch", "soon"},
      {"completion"},
      {"completion", "fish"},
      {"group", "export", "--watch"},
      {"loss"},
      {"loss", "list", "--since", "yesterday"},
      {"loss", "list", "--since", "2026-01-31"},
      {"loss", "list", "web1.dmz.example"},
      {"alert", "show"},
      {"alert", "close", "x"},
      {"alert", "close", "-1"},
      {"trace"},
      {"trace", "web1.dmz.example", "--timeout", "30"},
      {"trace", "web1.dmz.example", "--timeout", "10ms"},
      {"trace", "web1.dmz.example", "--timeout", "2d"},
  };
  for (const auto& arguments : cases) {
    EXPECT_EQ(postern(arguments), 2) << testing::PrintToString(arguments);
    EXPECT_EQ(out(), "");
    EXPECT_THAT(err(), testing::StartsWith("postern")) << testing::PrintToString(arguments);
  }
}

TEST_F(Tool, AnUnknownVerbIsNamedAndTheKnownOnesListed) {
  postern({"fly"});
  EXPECT_THAT(err(), HasSubstr("'fly' is no verb; known are: gateway, agent"));
  postern({"gateway"});
  EXPECT_THAT(err(), HasSubstr("gateway: a verb is missing; known are: approve, remove"));
  postern({"gateway", "fly"});
  EXPECT_THAT(err(), HasSubstr("gateway: 'fly' is no verb"));
  postern({"--output", "xml", "inventory"});
  EXPECT_THAT(err(), HasSubstr("--output: xml not in {table,json,yaml}"));
}

TEST_F(Tool, EveryVerbExplainsItselfWithAnExample) {
  for (const char* verb :
       {"completion bash", "completion zsh",  "server list",    "spool ls",     "spool verify",
        "spool export",    "gateway approve", "gateway remove", "gateway list", "gateway show",
        "agent approve",   "agent remove",    "agent list",     "agent show",   "pending list",
        "pending approve", "pending reject",  "cert list",      "inventory",    "topology",
        "server show",     "server list",     "cert request",   "loss list",    "alert list",
        "alert show",      "alert close",     "doctor",         "trace",        "cert sign",
        "cert import",     "cert show",       "cert revoke",    "cert renew",   "token create",
        "token list",      "token revoke",    "cert verify",    "group export", "group show",
        "ca show",         "ca roll",         "ca switch",      "ca finish"}) {
    std::istringstream words(verb);
    std::vector<std::string> arguments{std::istream_iterator<std::string>(words), {}};
    arguments.push_back("--help");
    EXPECT_EQ(postern(arguments), 0) << verb;
    EXPECT_THAT(out(), HasSubstr("Example:\n  postern")) << verb;
    EXPECT_THAT(out(), HasSubstr(verb)) << verb;
  }
}

TEST_F(Tool, AnUnreachableServerIsNamedWithTheWayOut) {
  unreachable_ = Error{Errc::unavailable, "No such file or directory"};
  EXPECT_EQ(postern({"inventory", "--server", "unix:/run/x.sock"}), 1);
  EXPECT_THAT(err(), HasSubstr("unix:/run/x.sock: No such file or directory"));
  EXPECT_THAT(err(), HasSubstr("POSTERN_SERVER"));
}

TEST_F(Tool, TheServerComesFromTheOptionThenTheEnvironmentThenTheUsualPlace) {
  postern({"inventory"});
  EXPECT_EQ(socket_, world_.home + "/server/api.sock");
  environment_["POSTERN_SERVER"] = "unix:/run/environment.sock";
  postern({"inventory"});
  EXPECT_EQ(socket_, "/run/environment.sock");
  postern({"--server", "unix:/run/option.sock", "inventory"});
  EXPECT_EQ(socket_, "/run/option.sock");
}

TEST_F(Tool, AListIsPrintedWholeHoweverManyPagesItHas) {
  for (int i = 0; i < 1500; ++i)
    service_.nodes.push_back(
        api::FakeService::agent_node(fmt::format("a{:04}.dmz.example", i).c_str()));
  EXPECT_EQ(postern({"agent", "list"}), 0);
  EXPECT_THAT(out(), HasSubstr("a0000.dmz.example"));
  EXPECT_THAT(out(), HasSubstr("a1499.dmz.example"));
}

TEST_F(Tool, ARevocationSaysWhatBecomesOfTheNode) {
  EXPECT_EQ(postern({"cert", "revoke", "gw1.dmz.example", "--reason", "compromised"}), 0);
  EXPECT_EQ(service_.last_revocation.reason, api::RevocationReason::compromised);
  EXPECT_THAT(out(), HasSubstr("of gw1.dmz.example with serial 0a is revoked (compromised)"));
  EXPECT_THAT(out(), HasSubstr("The identity of gw1.dmz.example is revoked with it"));
  EXPECT_THAT(out(), testing::Not(HasSubstr("stays approved")));
  EXPECT_EQ(postern({"cert", "revoke", "gw2.dmz.example"}), 0);
  EXPECT_THAT(out(), HasSubstr("gw2.dmz.example stays approved"));
  EXPECT_EQ(postern({"cert", "revoke", "gw1.dmz.example"}), 0);
  EXPECT_THAT(out(), HasSubstr("was already revoked (compromised)"));
  EXPECT_EQ(postern({"cert", "revoke", "gw1.dmz.example", "--reason", "bored"}), 2);
  EXPECT_EQ(postern({"cert", "revoke"}), 2);
  service_.nodes.front().certificate_revoked = "compromised";
  service_.nodes.front().renewal = "will-miss";
  service_.nodes.front().renewal_words = "it is not connected";
  EXPECT_EQ(postern({"cert", "list"}), 0);
  EXPECT_THAT(out(), HasSubstr("revoked"));
  EXPECT_THAT(out(), HasSubstr("will miss its renewal: it is not connected"));
}

TEST_F(Tool, AChangeOfTheAuthoritySaysHowFarItHasComeAndHowItGoesOn) {
  EXPECT_EQ(postern({"ca", "show"}), 0);
  EXPECT_THAT(out(), HasSubstr("begin one with: postern ca roll"));
  service_.authority_view.nodes = 3;
  service_.authority_view.waiting = {
      {"gw1.dmz.example", api::Role::gateway, false, {}, "does not trust the next CA yet"}};
  service_.authority_view.phase = api::RolloverPhase::spreading;
  EXPECT_EQ(postern({"ca", "show"}), 0);
  EXPECT_THAT(out(), HasSubstr("2 of 3 nodes trust it. When all do: postern ca switch"));
  EXPECT_THAT(out(), HasSubstr("does not trust the next CA yet"));
  EXPECT_EQ(postern({"ca", "switch"}), 1);
  EXPECT_THAT(err(), HasSubstr("gw1.dmz.example is not ready"));
  EXPECT_EQ(postern({"ca", "switch", "--leave-behind"}), 0);
  EXPECT_THAT(out(), HasSubstr("2 of 3 nodes use a certificate of it"));
  EXPECT_THAT(out(), HasSubstr("make them anew"));
  service_.authority_view.waiting.clear();
  EXPECT_EQ(postern({"ca", "finish"}), 0);
  EXPECT_EQ(postern({"ca", "roll", "--leave-behind"}), 2);
}

TEST_F(Tool, ATokenIsMadeIntoAFileThatOnlyItsOwnerReads) {
  EXPECT_EQ(postern({"api-token", "create", "--role", "operator", "--label", "wall", "--out",
                     file("token")}),
            0);
  EXPECT_THAT(out(), testing::Not(HasSubstr("postern_"))) << "the secret is in the file only";
  EXPECT_THAT(content(file("token")), testing::StartsWith("postern_"));
  EXPECT_EQ(fs::status(file("token")).permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(postern({"api-token", "list"}), 0);
  EXPECT_THAT(out(), HasSubstr("wall"));
  EXPECT_EQ(postern({"api-token", "revoke", "000000000001"}), 0);
  EXPECT_EQ(postern({"api-token", "revoke", "000000000001"}), 1);
  EXPECT_EQ(postern({"api-token", "create", "--role", "king"}), 2);
}

TEST_F(Tool, ANodeMayRenewAfterItsEndByAnAdministratorsWord) {
  EXPECT_EQ(postern({"cert", "renew", "gw1.dmz.example"}), 0);
  EXPECT_THAT(out(), HasSubstr("gw1.dmz.example may renew its certificate until "));
  EXPECT_EQ(postern({"cert", "renew"}), 2);
}

TEST_F(Tool, JoinTokensAreShownOnceAndListedByWhatIsLeftOfThem) {
  EXPECT_EQ(postern({"token", "create", "--role", "gateway", "--name", "gw*.dmz.example", "--uses",
                     "3", "--expires", "2h", "--parent", "ms1.home.example", "--via",
                     "ms1.home.example:5724", "--pending"}),
            0);
  EXPECT_EQ(out(), "postern-join-1.secret\n");
  EXPECT_EQ(service_.last_join_token.role, api::Role::gateway);
  EXPECT_EQ(service_.last_join_token.name_pattern, "gw*.dmz.example");
  EXPECT_EQ(service_.last_join_token.uses_max, 3u);
  EXPECT_EQ(service_.last_join_token.lifetime, std::chrono::hours(2));
  EXPECT_EQ(service_.last_join_token.addresses, std::vector<std::string>{"ms1.home.example:5724"});
  EXPECT_FALSE(service_.last_join_token.approves);

  EXPECT_EQ(postern({"token", "create", "--role", "agent", "--out", file("token")}), 0);
  EXPECT_EQ(content(file("token")), "postern-join-1.secret\n");
  EXPECT_EQ(fs::status(file("token")).permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(postern({"token", "list"}), 0);
  EXPECT_THAT(out(), HasSubstr("0 of 3"));
  EXPECT_EQ(postern({"token", "revoke", "0000000000000001"}), 0);
  EXPECT_EQ(postern({"token", "revoke", "0000000000000001"}), 1);
  EXPECT_EQ(postern({"token", "list"}), 0);
  EXPECT_THAT(out(), HasSubstr("revoked"));
  EXPECT_EQ(postern({"token", "create"}), 2);
  EXPECT_EQ(postern({"token", "create", "--role", "server"}), 2);
  EXPECT_EQ(postern({"token", "create", "--role", "agent", "--expires", "soon"}), 2);
}

TEST_F(Tool, VerifyPrintsEachRequirementAndEndsWithWhetherTheyPass) {
  SeededRandom random(1);
  auto authority = CertificateAuthority::create("corp", clock_.wall(), random);
  ASSERT_TRUE(authority);
  const TlsKey key = TlsKey::generate(TlsKey::Kind::ec);
  SignOptions options;
  options.now = clock_.wall();
  const auto certificate =
      authority->sign(as_bytes(*make_request(key, "gw1.dmz.example")), options, random);
  ASSERT_TRUE(certificate);
  ASSERT_TRUE(disk_.write_file(file("node.pem"), as_bytes(certificate->pem()), 0644));
  ASSERT_TRUE(disk_.write_file(file("node.key"), as_bytes(key.to_pem()), 0600));
  ASSERT_TRUE(disk_.write_file(file("ca.pem"), as_bytes(authority->certificate().pem()), 0644));
  const std::vector<std::string> arguments = {"cert",           "verify", "--anchors",
                                              file("ca.pem"),   "--key",  file("node.key"),
                                              file("node.pem"), "--name"};
  const auto verify = [&](const char* name, std::vector<std::string> more = {}) {
    auto all = arguments;
    all.push_back(name);
    all.insert(all.begin(), more.begin(), more.end());
    return postern(all);
  };
  EXPECT_EQ(verify("gw1.dmz.example"), 0) << err();
  EXPECT_THAT(out(), HasSubstr("pass  name             is issued for gw1.dmz.example"));
  EXPECT_THAT(out(), HasSubstr("pass  private key"));
  EXPECT_EQ(verify("gw2.dmz.example"), 1);
  EXPECT_THAT(out(), HasSubstr("FAIL  name"));
  EXPECT_THAT(out(), HasSubstr("It would be refused (wrong_name)."));
  EXPECT_EQ(verify("gw2.dmz.example", {"--output", "json"}), 1);
  EXPECT_EQ(boost::json::parse(out()).at("reason").as_string(), "wrong_name");
  EXPECT_EQ(verify("*.dmz.example"), 2);
  EXPECT_EQ(postern({"cert", "verify"}), 2);
  EXPECT_EQ(postern({"cert", "verify", file("nowhere.pem")}), 1);
  // Without anybody to believe it is not taken for good.
  EXPECT_EQ(postern({"cert", "verify", file("node.pem")}), 1);
  EXPECT_THAT(out(), HasSubstr("no trust anchors"));
}

TEST_F(Tool, OverHttpsItShowsItsTokenAndBelievesWhomTheGroupFileNames) {
  EXPECT_EQ(postern({"--server", "https://ms1.home.example", "inventory"}), 2);
  EXPECT_THAT(err(), HasSubstr("--token-file"));
  ASSERT_TRUE(disk_.write_file(file("token"), as_bytes("postern_1_2\n"), 0600));
  EXPECT_EQ(
      postern({"--server", "https://ms1.home.example", "--token-file", file("token"), "inventory"}),
      2);
  EXPECT_THAT(err(), HasSubstr("postern group export"));
  SeededRandom random(1);
  auto authority = CertificateAuthority::create("corp", clock_.wall(), random);
  ASSERT_TRUE(authority);
  const GroupFile group{"corp",
                        {{"ms1.home.example", "192.0.2.1:443"}},
                        PrivateKey::generate().public_key(),
                        *Anchors::from_certificates({authority->certificate()})};
  ASSERT_TRUE(disk_.write_file(file("group"), as_bytes(encode_group_file(group)), 0600));
  environment_["POSTERN_GROUP_FILE"] = file("group");
  EXPECT_EQ(postern({"--server", "https://ms1.home.example:443/", "--token-file", file("token"),
                     "inventory"}),
            0)
      << err();
  EXPECT_EQ(asked_.text(), "https://ms1.home.example:443");
  EXPECT_EQ(asked_.dial, "192.0.2.1") << "where names cannot be resolved";
  EXPECT_EQ(authorization_, "Bearer postern_1_2");
  unreachable_ = Error{Errc::denied, "its certificate is for another name"};
  EXPECT_EQ(
      postern({"--server", "https://ms1.home.example", "--token-file", file("token"), "inventory"}),
      1);
  EXPECT_THAT(err(), HasSubstr("nothing was sent"));
}

TEST_F(Tool, ARefusalIsSaidInTheServersWords) {
  caller_.scope = api::Scope::read_only;
  caller_.name = "ada";
  EXPECT_EQ(postern({"agent", "approve", "web1.dmz.example"}), 1);
  EXPECT_THAT(err(), HasSubstr("postern agent approve: ada may read but not change things"));
}

TEST_F(Tool, PendingNodesAreListedApprovedAndRejected) {
  EXPECT_EQ(postern({"pending", "list"}), 0);
  EXPECT_EQ(out(), "Nobody waits for approval.\n");
  api::PendingView waiting;
  waiting.name = "web1.dmz.example";
  waiting.reason = "not approved yet";
  waiting.path = {"gw1.dmz.example"};
  service_.waiting = {waiting, waiting};
  EXPECT_EQ(postern({"pending", "list"}), 0);
  EXPECT_THAT(out(), HasSubstr("not approved yet"));
  EXPECT_EQ(postern({"pending", "reject", "web1.dmz.example"}), 0);
  EXPECT_EQ(postern({"pending", "approve", "web1.dmz.example"}), 0);
  EXPECT_EQ(postern({"pending", "approve", "web1.dmz.example"}), 1);
}

TEST_F(Tool, ShowPrintsStreamsAndValues) {
  service_.nodes.push_back(api::FakeService::agent_node("web1.dmz.example"));
  api::StreamView stream;
  stream.lane = "metric";
  stream.sealed = 9;
  stream.applied = {{1, 4}, {7, 9}};
  stream.gaps = {{{5, 6}, "disk full"}};
  service_.streams = {stream};
  service_.values = {
      {"system.cpu.load_average.1m", "1", R"({"a":"b"})", 0.25, false, clock_.wall()}};
  EXPECT_EQ(postern({"agent", "show", "web1.dmz.example"}), 0);
  EXPECT_THAT(out(), HasSubstr("1-4, 7-9"));
  EXPECT_THAT(out(), HasSubstr("5-6 (disk full)"));
  EXPECT_THAT(out(), HasSubstr("a=b"));
  EXPECT_EQ(postern({"gateway", "show", "web1.dmz.example"}), 1);
}

TEST_F(Tool, TheLossLedgerSaysWhatWasLostWhoseWhenHowMuchAndWhy) {
  EXPECT_EQ(postern({"loss", "list"}), 0);
  EXPECT_EQ(out(), "Nothing is lost or missing.\n");
  api::LossView gap;
  gap.node = "web1.dmz.example";
  gap.lane = "metric";
  gap.epoch_ordinal = 2;
  gap.range = {5, 9};
  gap.first_time = clock_.wall() - std::chrono::hours(2);
  gap.last_time = clock_.wall() - std::chrono::hours(1);
  gap.noted = clock_.wall() - std::chrono::seconds(12);
  gap.records = 500;
  gap.bytes = 4096;
  gap.reason = "shed";
  api::LossView hole;
  hole.kind = api::LossView::Kind::hole;
  hole.node = "web2.dmz.example";
  hole.lane = "state";
  hole.range = {7, 7};
  hole.noted = clock_.wall() - std::chrono::minutes(3);
  service_.loss_list = {hole, gap};
  EXPECT_EQ(postern({"loss", "list", "--output", "json"}), 0);
  EXPECT_EQ(boost::json::parse(out()).at("items").at(1).at("records").as_int64(), 500);
  EXPECT_EQ(postern({"loss", "list"}), 0);
  for (const char* part :
       {"hole", "web2.dmz", "state/0", "7-7", "noted 3 min ago", "gap", "web1.dmz", "metric/2",
        "5-9", "500", "4.0 KiB", "2027-01-15 06:00:00", "shed"})
    EXPECT_THAT(out(), HasSubstr(part));
}

TEST_F(Tool, TheLossLedgerIsAskedByNodeAndTime) {
  EXPECT_EQ(postern({"loss", "list", "--node", "web1.dmz.example", "--since", "2h"}), 0);
  EXPECT_EQ(out(), "Nothing of web1.dmz.example is lost or missing that was noted since then.\n");
  EXPECT_EQ(service_.last_query.node, "web1.dmz.example");
  EXPECT_EQ(service_.last_query.since, clock_.wall() - std::chrono::hours(2));
  EXPECT_EQ(postern({"loss", "list", "--since", "2026-01-31T08:15:00Z"}), 0);
  EXPECT_EQ(to_rfc3339(*service_.last_query.since), "2026-01-31T08:15:00.000Z");
  EXPECT_EQ(postern({"loss", "list", "--since", "soon"}), 2);
  EXPECT_THAT(err(), HasSubstr("2026-01-31T08:15:00Z, or how far back like 30m, 2h or 7d"));
}

TEST_F(Tool, AlertsAreListedShownAndClosed) {
  EXPECT_EQ(postern({"alert", "list"}), 0);
  EXPECT_EQ(out(), "No alert is open.\n");
  api::AlertView alert;
  alert.id = 17;
  alert.severity = "critical";
  alert.cause = "store rolled back";
  alert.words = "it was restored";
  alert.raised = alert.last = clock_.wall();
  alert.count = 3;
  service_.alert_list = {alert};
  EXPECT_EQ(postern({"alert", "list"}), 0);
  EXPECT_THAT(out(), HasSubstr("it was restored"));
  EXPECT_EQ(postern({"alert", "show", "17"}), 0);
  EXPECT_THAT(out(), HasSubstr("cause     store rolled back\n"));
  EXPECT_THAT(out(), HasSubstr("\n\nit was restored\n"));
  EXPECT_EQ(postern({"alert", "show", "18"}), 1);
  EXPECT_THAT(err(), HasSubstr("postern alert show: there is no alert 18"));
  EXPECT_EQ(postern({"alert", "close", "17"}), 0);
  EXPECT_EQ(out(), "Alert 17 is closed: store rolled back\n");
  EXPECT_EQ(postern({"alert", "list"}), 0);
  EXPECT_EQ(out(), "No alert is open.\n");
  EXPECT_EQ(postern({"alert", "list", "--all"}), 0);
  EXPECT_THAT(out(), HasSubstr("closed"));
}

TEST_F(Tool, ATracePrintsEachHopWithItsWait) {
  drawings_ = 100;
  service_.nodes.push_back(api::FakeService::agent_node("web1.dmz.example"));
  api::TraceView waiting;
  waiting.node = "web1.dmz.example";
  api::TraceView arrived = waiting;
  arrived.arrived = true;
  arrived.hops = {{"web1.dmz.example", "gw1.dmz.example", clock_.wall(), 20},
                  {"gw1.dmz.example", "ms1.home.example", clock_.wall(), 3000}};
  arrived.total_ms = 3020;
  service_.traces = {waiting, waiting, arrived};
  EXPECT_EQ(postern({"trace", "web1.dmz.example"}), 0) << err();
  EXPECT_EQ(out(),
            "HOP                                  RECEIVED                  WAIT\n"
            "web1.dmz.example -> gw1.dmz.example  2027-01-15T08:00:00.000Z  20 ms\n"
            "gw1.dmz.example -> ms1.home.example  2027-01-15T08:00:00.000Z  3 s\n"
            "\nThe probe of web1.dmz.example arrived 3 s after it was sealed.\n");
  EXPECT_EQ(postern({"trace", "web1.dmz.example", "--output", "yaml"}), 0);
  EXPECT_THAT(out(), HasSubstr("\"state\": \"arrived\""));
}

TEST_F(Tool, ATraceWithANegativeWaitSaysThatClocksDiffer) {
  service_.nodes.push_back(api::FakeService::agent_node("web1.dmz.example"));
  api::TraceView arrived;
  arrived.node = "web1.dmz.example";
  arrived.arrived = true;
  arrived.hops = {{"web1.dmz.example", "gw1.dmz.example", clock_.wall(), -5000}};
  service_.traces = {arrived};
  EXPECT_EQ(postern({"trace", "web1.dmz.example"}), 0);
  EXPECT_THAT(out(), HasSubstr("  -5 s\n"));
  EXPECT_THAT(out(), HasSubstr("the clocks of two hops differ"));
}

TEST_F(Tool, ATraceThatDoesNotArriveSaysWhatWasLastKnown) {
  drawings_ = 1000;
  auto agent = api::FakeService::agent_node("web1.dmz.example");
  agent.last_seen = clock_.wall();
  agent.path = {"gw1.dmz.example", "ms1.home.example"};
  service_.nodes.push_back(agent);
  api::TraceView waiting;
  waiting.node = "web1.dmz.example";
  service_.traces = {waiting};
  const TimePoint before = clock_.now();
  world_.terminal = true;
  EXPECT_EQ(postern({"trace", "web1.dmz.example", "--timeout", "1m"}), 1);
  EXPECT_EQ(clock_.now() - before, std::chrono::minutes(1));
  EXPECT_THAT(out(), HasSubstr("waiting for the probe of web1.dmz.example, 60 s more at most"));
  EXPECT_THAT(err(), HasSubstr("no probe of web1.dmz.example arrived within 1m"));
  EXPECT_THAT(err(), HasSubstr("disconnected, last seen 60 s ago"));
  EXPECT_THAT(err(), HasSubstr("by way of gw1.dmz.example, ms1.home.example"));
  world_.terminal = false;
  EXPECT_EQ(postern({"trace", "web1.dmz.example", "--timeout", "1s"}), 1);
  EXPECT_EQ(out(), "") << "no progress where it would end up in a file";
  EXPECT_EQ(postern({"trace", "nobody.dmz.example"}), 1);
  EXPECT_THAT(err(), HasSubstr("nobody.dmz.example is not in the management group"));
}

TEST_F(Tool, WatchDrawsAgainAndOutlivesAServerThatIsAway) {
  drawings_ = 3;
  EXPECT_EQ(postern({"topology", "--watch", "5"}), 0);
  std::size_t drawn = 0;
  for (std::size_t at = out().find("ms1.home"); at != std::string::npos;
       at = out().find("ms1.home", at + 1))
    ++drawn;
  EXPECT_EQ(drawn, 3u);
  drawings_ = 2;
  unreachable_ = Error{Errc::unavailable, "Connection refused"};
  EXPECT_EQ(postern({"topology", "--watch", "5"}), 0);
  EXPECT_THAT(out(), HasSubstr("Connection refused"));
}

TEST_F(Tool, WatchMeansEveryTwoSecondsWhenItSaysNoMore) {
  drawings_ = 3;
  EXPECT_EQ(postern({"alert", "list", "--watch"}), 0);
  EXPECT_EQ(watches_, 1);
  EXPECT_EQ(out(),
            "2027-01-15T08:00:00.000Z\nNo alert is open.\n"
            "\n2027-01-15T08:00:02.000Z\nNo alert is open.\n"
            "\n2027-01-15T08:00:04.000Z\nNo alert is open.\n");
  drawings_ = 1;
  EXPECT_EQ(postern({"alert", "list"}), 0);
  EXPECT_EQ(watches_, 1) << "without --watch Ctrl-C is no ordinary end";
}

TEST_F(Tool, EveryListAndShowCanBeWatched) {
  postern({"agent", "approve", "web1.dmz.example"});
  postern({"gateway", "approve", "gw1.dmz.example", "--parent", "ms1.home.example"});
  for (const std::vector<std::string>& verb :
       std::vector<std::vector<std::string>>{{"inventory"},
                                             {"topology"},
                                             {"gateway", "list"},
                                             {"gateway", "show", "gw1.dmz.example"},
                                             {"agent", "list"},
                                             {"agent", "show", "web1.dmz.example"},
                                             {"pending", "list"},
                                             {"server", "list"},
                                             {"loss", "list"},
                                             {"alert", "list"},
                                             {"group", "show"}}) {
    drawings_ = 2;
    const int before = watches_;
    auto arguments = verb;
    arguments.insert(arguments.end(), {"--watch", "3"});
    EXPECT_EQ(postern(arguments), 0) << testing::PrintToString(verb) << err();
    EXPECT_EQ(watches_, before + 1) << testing::PrintToString(verb);
  }
}

TEST_F(Tool, WatchedJsonAndYamlAreOneDocumentAfterTheOther) {
  drawings_ = 2;
  EXPECT_EQ(postern({"server", "list", "--watch", "1", "--output", "json"}), 0);
  const auto end = out().find("\n}\n\n{");
  ASSERT_NE(end, std::string::npos) << out();
  EXPECT_EQ(boost::json::parse(out().substr(0, end + 2)),
            boost::json::parse(out().substr(end + 3)));
  drawings_ = 2;
  EXPECT_EQ(postern({"server", "list", "--watch", "1", "--output", "yaml"}), 0);
  EXPECT_THAT(out(), HasSubstr("\n---\n\"items\":"));
}

TEST_F(Tool, TablesFitTheScreenAndJsonIsWhole) {
  const std::string name = std::string(60, 'w') + ".dmz.example";
  EXPECT_EQ(postern({"agent", "approve", name}), 0) << err();
  world_.columns = 60;
  for (const char* verb : {"inventory", "topology"}) {
    EXPECT_EQ(postern({verb}), 0);
    std::istringstream lines(out());
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 60u) << line;
    EXPECT_THAT(out(), HasSubstr("ww.."));
    EXPECT_EQ(postern({verb, "--output", "json"}), 0);
    EXPECT_THAT(out(), HasSubstr(name));
  }
}

TEST_F(Tool, NamesForTheShellAreThoseOfTheKindAndNothingElse) {
  postern({"agent", "approve", "web1.dmz.example"});
  postern({"gateway", "approve", "gw1.dmz.example", "--parent", "ms1.home.example"});
  EXPECT_EQ(postern({"complete-names", "agent"}), 0);
  EXPECT_EQ(out(), "web1.dmz.example\n");
  EXPECT_EQ(postern({"complete-names", "parent"}), 0);
  EXPECT_THAT(out(), HasSubstr("gw1.dmz.example\n"));
  EXPECT_THAT(out(), testing::Not(HasSubstr("web1")));
  service_.nodes.back().name = "$(reboot)";
  EXPECT_EQ(postern({"complete-names", "node"}), 0);
  EXPECT_THAT(out(), testing::Not(HasSubstr("reboot"))) << "a shell will read this";
  unreachable_ = Error{Errc::unavailable, "Connection refused"};
  EXPECT_EQ(postern({"complete-names", "agent"}), 1);
  EXPECT_EQ(out() + err(), "") << "somebody is typing";
}

TEST_F(Tool, CompletionIsPrintedAndNamesEveryVerb) {
  EXPECT_EQ(postern({"completion", "bash"}), 0);
  EXPECT_THAT(out(), HasSubstr("complete -F _postern postern\n"));
  EXPECT_THAT(out(), HasSubstr("'postern gateway approve'"));
  EXPECT_THAT(out(), testing::Not(HasSubstr("'postern complete-names'")));
  EXPECT_EQ(postern({"completion", "zsh"}), 0);
  EXPECT_THAT(out(), testing::StartsWith("#compdef postern\n"));
  EXPECT_EQ(postern({"--describe"}), 0);
  EXPECT_EQ(boost::json::parse(out()).at("name").as_string(), "postern");
}

TEST_F(Tool, TheGroupFileIsWrittenOrPrinted) {
  EXPECT_EQ(postern({"group", "export", file("group.postern")}), 0);
  EXPECT_EQ(content(file("group.postern")), "postern-group: 1\n");
  EXPECT_EQ(postern({"group", "export", "-"}), 0);
  EXPECT_EQ(out(), "postern-group: 1\n");
  EXPECT_EQ(postern({"group", "export", file("missing/group.postern")}), 1);
  EXPECT_EQ(postern({"group", "show"}), 0);
  EXPECT_THAT(out(), HasSubstr("corp"));
}

// The way of a certificate: request, sign, import, show.
TEST_F(Tool, ARequestedCertificateIsSignedImportedAndShown) {
  const std::string store = file("certificates");
  ASSERT_EQ(postern({"cert", "request", "--name", "GW1.dmz.example", "--out", store}), 0);
  EXPECT_THAT(out(), HasSubstr("postern cert import --subject-name gw1.dmz.example"));
  struct stat key {};
  ASSERT_EQ(::stat((store + "/gw1.dmz.example.key").c_str(), &key), 0);
  EXPECT_EQ(key.st_mode & 0777u, 0600u);

  ASSERT_EQ(postern({"cert", "sign", store + "/gw1.dmz.example.csr", "--days", "30", "--out",
                     file("unused.pem")}),
            0);
  EXPECT_EQ(service_.last_request.days, 30u);
  const auto info = read_request(as_bytes(service_.last_request.csr_pem));
  ASSERT_TRUE(info);
  EXPECT_THAT(info->names, testing::ElementsAre("gw1.dmz.example"));

  EXPECT_EQ(postern({"cert", "import", "--subject-name", "gw1.dmz.example", "--store", store,
                     "--role", "gateway"}),
            1)
      << "there is a key but no certificate yet";

  SeededRandom random(1);
  auto authority = CertificateAuthority::create("corp", clock_.wall(), random);
  ASSERT_TRUE(authority);
  SignOptions options;
  options.now = clock_.wall();
  const auto leaf = authority->sign(as_bytes(service_.last_request.csr_pem), options, random);
  ASSERT_TRUE(leaf);
  const std::string chain = leaf->pem() + authority->certificate().pem();
  const PrivateKey root = PrivateKey::generate();
  const GroupFile group{"corp",
                        {{"ms1.home.example", "ms1.home.example:5723"}},
                        root.public_key(),
                        *Anchors::from_certificates({authority->certificate()})};
  ASSERT_TRUE(disk_.write_file(store + "/gw1.dmz.example.pem", as_bytes(chain), 0644));
  EXPECT_EQ(postern({"cert", "import", "--subject-name", "gw1.dmz.example", "--store", store,
                     "--role", "gateway"}),
            1);
  EXPECT_THAT(err(), HasSubstr("postern group export")) << "nobody is trusted here yet";
  ASSERT_TRUE(disk_.write_file(store + "/group.postern", as_bytes(encode_group_file(group)), 0644));

  environment_["POSTERN_CERT_STORE"] = store;
  EXPECT_EQ(run({"MOMCertImport.exe", "/SubjectName", "gw1.dmz.example"}), kExitNoRole);
  EXPECT_EQ(run({"momcertimport", "/SubjectName=gw1.dmz.example", "--role", "gateway"}), 0)
      << err();
  EXPECT_THAT(out(), HasSubstr("The certificate of gw1.dmz.example was imported successfully."));
  EXPECT_EQ(run({"momcertimport", "/SubjectName=gw1.dmz.example"}), 0) << "the role is known now";
  EXPECT_THAT(out(), HasSubstr("was installed already"));
  EXPECT_EQ(run({"MOMCertImport", "/SubjectName", "gw2.dmz.example"}), kExitNoCertificate);

  EXPECT_EQ(postern({"cert", "show", "--state", world_.home + "/gateway"}), 0);
  EXPECT_THAT(out(), HasSubstr("server and client"));
  EXPECT_EQ(postern({"--output", "json", "cert", "show", store + "/gw1.dmz.example.pem"}), 0);
  EXPECT_EQ(boost::json::parse(out()).at("items").as_array().size(), 2u);

  clock_.set_wall(clock_.wall() + std::chrono::days(4000));
  EXPECT_EQ(run({"MOMCertImport", "/SubjectName", "gw1.dmz.example"}), kExitRequirementFailed);
  EXPECT_THAT(err(), HasSubstr("nothing was changed"));
}

TEST_F(Tool, ARequestKeepsAKeyThatIsThereAlready) {
  const std::string store = file("certificates");
  ASSERT_EQ(postern({"cert", "request", "--name", "a.dmz.example", "--out", store}), 0);
  const std::string key = content(store + "/a.dmz.example.key");
  ASSERT_EQ(postern({"cert", "request", "--name", "a.dmz.example", "--out", store, "--san",
                     "b.dmz.example", "--output", "json"}),
            0);
  EXPECT_EQ(content(store + "/a.dmz.example.key"), key);
  EXPECT_EQ(read_request(as_bytes(content(store + "/a.dmz.example.csr")))->names.size(), 2u);
  EXPECT_EQ(boost::json::parse(out()).at("name").as_string(), "a.dmz.example");
  EXPECT_EQ(postern({"cert", "request", "--name", "single", "--out", store}), 2);
}

TEST_F(Tool, ImportLeavesARoleOfAnotherNameAlone) {
  fs::create_directories(world_.settings);
  const std::string settings = "group: corp\nname: gw9.dmz.example\nstate_dir: " + file("gw9") +
                               "\nparents:\n  - ms1.home.example\n";
  ASSERT_TRUE(disk_.write_file(world_.settings + "/gateway.yaml", as_bytes(settings), 0644));
  EXPECT_EQ(run({"MOMCertImport", "/SubjectName", "gw1.dmz.example"}), kExitNoRole);
  EXPECT_THAT(err(), HasSubstr("gateway gw9.dmz.example"));
}

TEST(SeedTools, AreRecognisedByNameInAnyCaseWithAndWithoutExe) {
  for (const char* name : {"Microsoft.EnterpriseManagement.GatewayApprovalTool",
                           "/opt/x/microsoft.enterprisemanagement.gatewayApprovalTool.EXE",
                           "./MICROSOFT.ENTERPRISEMANAGEMENT.GATEWAYAPPROVALTOOL.exe"})
    EXPECT_EQ(seed_tool_named(name), &run_approval_tool) << name;
  for (const char* name : {"MOMCertImport", "momcertimport.exe", "/usr/bin/MomCertImport.Exe"})
    EXPECT_EQ(seed_tool_named(name), &run_import_tool) << name;
  for (const char* name : {"postern", "/usr/bin/postern", "", ".exe", "MOMCertImport.bat"})
    EXPECT_EQ(seed_tool_named(name), nullptr) << name;
}

TEST_F(Tool, TheApprovalToolSaysTheSeedsWords) {
  EXPECT_EQ(run({kTool, kServer, kGateway, "/Action=Create"}), 0);
  EXPECT_EQ(out(), "The approval of server GW1.dmz.example completed successfully.\n");
  EXPECT_EQ(postern({"gateway", "list"}), 0);
  EXPECT_THAT(out(), HasSubstr("never connected"));

  EXPECT_EQ(run({kTool, kServer, kGateway, "/Action=Create"}), 0) << "twice does no harm";
  EXPECT_THAT(out(), testing::StartsWith(
                         "The approval of server GW1.dmz.example completed successfully.\n"));
  EXPECT_THAT(out(), HasSubstr("approved already"));

  EXPECT_EQ(run({kTool, "/ManagementServerName=gw1.dmz.example", "/GatewayName=gw2.site.example",
                 "/Action=Create", "/SiteName=North"}),
            0)
      << "a chain: the parent is an approved gateway";
  EXPECT_EQ(service_.last_gateway.site, "North");

  EXPECT_EQ(run({kTool, kServer, kGateway, "/Action=Delete"}), 0);
  EXPECT_EQ(out(),
            "The removal of server GW1.dmz.example from the management group completed "
            "successfully.\n");
}

TEST_F(Tool, EachFailureOfTheApprovalToolHasItsOwnStatusAndMessage) {
  service_.nodes.push_back(api::FakeService::agent_node("web1.dmz.example"));
  struct Case {
    std::vector<std::string> arguments;
    int status;
    const char* words;
  };
  const Case cases[] = {
      {{kServer, kGateway}, kExitUsage, "/Action"},
      {{kServer, kGateway, "/Action=Create", "/X=1"}, kExitUsage, "'/X=1' is not known"},
      {{kServer, kGateway, "/Action=Update"}, kExitWrongAction, "'Update'"},
      {{kServer, "/GatewayName=gw1", "/Action=Create"}, kExitNotAnFqdn, "/GatewayName"},
      {{"/ManagementServerName=ms1", kGateway, "/Action=Create"},
       kExitNotAnFqdn,
       "/ManagementServerName"},
      {{"/ManagementServerName=ms9.home.example", kGateway, "/Action=Create"},
       kExitUnknownManagementServer,
       "ms9.home.example"},
      {{"/ManagementServerName=ms9.home.example", kGateway, "/Action=Delete"},
       kExitUnknownManagementServer,
       "ms9.home.example"},
      {{"/ManagementServerName=web1.dmz.example", kGateway, "/Action=Create"},
       kExitUnknownManagementServer,
       "web1.dmz.example"},
      {{kServer, kGateway, "/Action=Create", "/ManagementServerInitiatesConnection"},
       kExitDirection,
       "not available in this version"},
      {{kServer, kGateway, "/Action=Delete"}, kExitUnknownGateway, "gw1.dmz.example"},
      {{kServer, "/GatewayName=web1.dmz.example", "/Action=Create"}, kExitConflict, "another role"},
  };
  for (const Case& one : cases) {
    std::vector<std::string> arguments = one.arguments;
    arguments.insert(arguments.begin(), kTool);
    EXPECT_EQ(run(arguments), one.status) << one.words;
    EXPECT_THAT(err(), HasSubstr(one.words));
    EXPECT_EQ(out(), "");
  }
  EXPECT_TRUE(service_.audit_log.empty()) << "none of them changed anything";

  caller_.scope = api::Scope::read_only;
  EXPECT_EQ(run({kTool, kServer, kGateway, "/Action=Create"}), kExitNoRight);
  EXPECT_THAT(err(), HasSubstr("postern-admin"));
  unreachable_ = Error{Errc::denied, "Permission denied"};
  EXPECT_EQ(run({kTool, kServer, kGateway, "/Action=Create"}), kExitNoRight);
  unreachable_ = Error{Errc::unavailable, "Connection refused"};
  EXPECT_EQ(run({kTool, kServer, kGateway, "/Action=Create"}), kExitUnreachable);
  EXPECT_THAT(err(), HasSubstr("systemctl status postern-server"));
}

TEST_F(Tool, ASpoolIsListedVerifiedAndExported) {
  EXPECT_EQ(postern({"spool", "ls"}), kExitUsage);
  EXPECT_THAT(err(), HasSubstr("--state"));
  EXPECT_EQ(postern({"spool", "verify", "--state", file("state")}), kExitFailed);
  EXPECT_THAT(err(), HasSubstr("there is no spool in " + file("state/spool")));

  const Log log(Level::error, [](Level, std::string_view) {});
  auto opened = spool::Spool::open(disk_, log, file("state/spool"), {});
  ASSERT_TRUE(opened);
  spool::Spool::Append one{{}, 7, {}, std::make_shared<const Bytes>(300)};
  ASSERT_TRUE(opened->spool->append({&one, 1}));
  EXPECT_EQ(postern({"spool", "ls", "--state", file("state")}), kExitDone) << err();
  EXPECT_THAT(out(), HasSubstr("SETTLED UP TO"));
  EXPECT_EQ(postern({"--output", "json", "spool", "ls", "--state", file("state")}), kExitDone);
  const auto listing = boost::json::parse(out());
  EXPECT_EQ(listing.at("items").at(0).at("ranges").at(0).at(1), 7);
  EXPECT_EQ(postern({"spool", "verify", "--state", file("state")}), kExitDone);
  EXPECT_THAT(out(), HasSubstr("no damage"));
  EXPECT_EQ(postern({"spool", "export", "--state", file("state"), "--to", file("batches")}),
            kExitDone);
  EXPECT_EQ(content(file("batches")).size(), 8u + 4 + 300);

  opened->spool.reset();
  const std::string segment = file("state/spool/0000000000000001.log");
  auto bytes = disk_.read_file(segment);
  bytes->back() ^= std::byte{1};
  ASSERT_TRUE(disk_.write_file(segment, *bytes, 0600));
  EXPECT_EQ(postern({"spool", "verify", "--state", file("state")}), kExitFailed);
  EXPECT_THAT(out(), HasSubstr("0000000000000001.log"));
  EXPECT_THAT(out(), HasSubstr("148"));
}

}  // namespace
}  // namespace postern::cli
