#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <map>
#include <sstream>

#include "base/fake_disk.h"
#include "cli/world.h"
#include "identity/state_folder.h"
#include "identity/test_certificates.h"

namespace postern::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using testing_support::authority_recipe;
using testing_support::Issued;
using testing_support::make;
using testing_support::Recipe;
using Trouble = PeerProbe::Trouble;

/// A network in which every name has one address, and every probe ends the same way.
class FakeOutside final : public doctor::Outside {
 public:
  Result<std::vector<std::string>> addresses_of(const std::string&, Duration) override {
    return std::vector<std::string>{"192.0.2.1"};
  }
  std::optional<std::string> name_of_address(const std::string&, Duration) override {
    return std::nullopt;
  }
  PeerProbe probe(const ProbeRequest& request) override {
    timeout = request.timeout;
    names.push_back(request.name);
    PeerProbe result;
    result.where = fmt::format("{}:{}", request.address, request.port);
    result.trouble = trouble;
    if (trouble != Trouble::none) return result;
    result.shaken = true;
    result.peer.chain = chain;
    result.finding = request.tls->objection(chain, request.name);
    return result;
  }
  std::optional<WallTime> clock_of(const std::string&, const std::string&, std::uint16_t,
                                   const Anchors&, Duration) override {
    return std::nullopt;
  }
  doctor::Program program_at(const std::filesystem::path&, Duration) override {
    return {doctor::Program::State::running, true, "ready"};
  }

  Trouble trouble = Trouble::none;
  std::vector<Certificate> chain;
  std::vector<std::string> names;
  Duration timeout{};
};

class DoctorVerb : public testing::Test {
 protected:
  DoctorVerb() {
    outside_.chain = {issued("gw1.dmz.example").certificate};
    set_up("agent", "web1.dmz.example");
  }

  Issued issued(const std::string& name) {
    Recipe recipe;
    recipe.common_name = name;
    recipe.dns_names = {name};
    return make(recipe, &root_);
  }
  void put(const std::filesystem::path& file, std::string_view text) {
    ASSERT_TRUE(disk_.make_directories(file.parent_path()));
    ASSERT_TRUE(disk_.write_file(file, as_bytes(text), 0600));
  }
  void set_up(const std::string& role, const std::string& name) {
    const Issued own = issued(name);
    const std::string state = "/lib/" + role;
    put("/etc/" + role + ".yaml",
        fmt::format("group: demo\nname: {}\nstate_dir: {}\nparents: [gw1.dmz.example]\n", name,
                    state));
    put(state + "/anchors.pem", root_.certificate.pem());
    put(state + "/group.pem", PrivateKey::generate().public_key().to_pem());
    put(state + "/tls/chain.pem", own.certificate.pem());
    put(state + "/tls/key.pem", private_key_pem(own.key.get()));
  }
  int postern(std::vector<std::string> arguments) {
    out_.str("");
    err_.str("");
    arguments.insert(arguments.begin(), "postern");
    return run(arguments, world_);
  }
  std::string last_line() const {
    std::string text = out_.str();
    text.pop_back();
    return text.substr(text.rfind('\n') + 1);
  }

  const Issued root_ = make(authority_recipe("Test root"));
  FakeClock clock_;
  FakeDisk disk_{1};
  FakeOutside outside_;
  std::ostringstream out_, err_;
  World world_{
      .out = out_,
      .err = err_,
      .clock = clock_,
      .disk = disk_,
      .environment = [](const std::string&) -> std::optional<std::string> { return std::nullopt; },
      .send = [](const ServerAddress&, const HttpRequest&) -> Result<HttpResponse> {
        return fail(Errc::unavailable, "no server");
      },
      .pause = [](std::chrono::seconds) { return false; },
      .outside = &outside_,
      .columns = 1000,
      .home = "/lib",
      .settings = "/etc",
  };
};

TEST_F(DoctorVerb, SaysThatNothingIsWrongWithStatusZero) {
  EXPECT_EQ(postern({"doctor"}), 0) << out_.str() << err_.str();
  EXPECT_THAT(out_.str(), StartsWith("agent web1.dmz.example (/etc/agent.yaml)\n"));
  EXPECT_THAT(out_.str(), HasSubstr("\npass         configuration "));
  EXPECT_THAT(out_.str(), HasSubstr("\nparent gw1.dmz.example\n"));
  EXPECT_EQ(last_line(), "Nothing is wrong.");
}

TEST_F(DoctorVerb, EndsWithOneSentenceAboutTheFirstThingThatIsWrong) {
  outside_.trouble = Trouble::refused;
  EXPECT_EQ(postern({"doctor"}), 1);
  EXPECT_THAT(out_.str(), HasSubstr("\nFAIL         connect "));
  EXPECT_THAT(out_.str(), HasSubstr("\nnot reached  tls "));
  EXPECT_THAT(last_line(),
              StartsWith("The first thing that is wrong: gw1.dmz.example at 192.0.2.1"));
  EXPECT_THAT(last_line(), HasSubstr("systemctl status"));
}

TEST_F(DoctorVerb, TicketsGetEveryStepAsJson) {
  outside_.trouble = Trouble::timed_out;
  EXPECT_EQ(postern({"doctor", "--output", "json"}), 1);
  const auto answer = boost::json::parse(out_.str());
  EXPECT_FALSE(answer.at("passed").as_bool());
  EXPECT_EQ(answer.at("conclusion").at("id").as_string(), "connect");
  EXPECT_EQ(answer.at("conclusion").at("reason").as_string(), "connect_timed_out");
  const auto& node = answer.at("nodes").at(0);
  EXPECT_EQ(node.at("name").as_string(), "web1.dmz.example");
  EXPECT_GT(node.at("steps").as_array().size(), 15u);
  for (const auto& step : node.at("steps").as_array()) {
    EXPECT_EQ(step.as_object().size(), 6u);
    EXPECT_EQ(step.at("reason") == "ok", step.at("verdict") == "pass") << step;
  }
}

TEST_F(DoctorVerb, ExaminesEveryRoleOfTheMachineOrTheOneThatIsNamed) {
  set_up("gateway", "gw7.dmz.example");
  EXPECT_EQ(postern({"doctor"}), 0) << out_.str();
  EXPECT_EQ(outside_.names.size(), 2u);
  EXPECT_EQ(postern({"doctor", "--role", "gateway"}), 0);
  EXPECT_EQ(outside_.names.size(), 3u);
  EXPECT_THAT(out_.str(), StartsWith("gateway gw7.dmz.example"));
}

TEST_F(DoctorVerb, TakesFilesElsewhereWhoseRoleIsToBeSeenOrSaid) {
  EXPECT_EQ(postern({"doctor", "--config", "/etc/agent.yaml"}), 0);
  EXPECT_EQ(postern({"doctor", "--state", "/lib/agent", "--to", "gw1.dmz.example"}), 0);
  put("/srv/node.yaml",
      "group: demo\nname: web1.dmz.example\nstate_dir: /lib/agent\n"
      "parents: [gw1.dmz.example]\n");
  EXPECT_EQ(postern({"doctor", "--config", "/srv/node.yaml"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("--role agent|gateway|server"));
  EXPECT_EQ(postern({"doctor", "--config", "/srv/node.yaml", "--role", "agent"}), 0);
}

TEST_F(DoctorVerb, WaitsAsLongAsItIsTold) {
  EXPECT_EQ(postern({"doctor", "--timeout", "3s"}), 0);
  EXPECT_EQ(outside_.timeout, std::chrono::seconds(3));
}

TEST_F(DoctorVerb, WrongUsageIsTwoAndDialsNobody) {
  const std::vector<std::string> cases[] = {
      {"doctor", "--to", "192.0.2.1"},
      {"doctor", "--to", "gw1.dmz.example:0x"},
      {"doctor", "--timeout", "1h"},
      {"doctor", "--timeout", "soon"},
      {"doctor", "--role", "king"},
      {"doctor", "gw1.dmz.example"},
      {"cert", "verify", "--state", "/lib/agent", "--peer", "192.0.2.1:5723"},
      {"cert", "verify", "--state", "/lib/agent", "--peer", "gw1.dmz.example", "--timeout", "0s"},
  };
  for (const auto& arguments : cases) {
    EXPECT_EQ(postern(arguments), 2) << testing::PrintToString(arguments);
    EXPECT_EQ(out_.str(), "");
    EXPECT_THAT(err_.str(), StartsWith("postern"));
  }
  EXPECT_TRUE(outside_.names.empty());
}

TEST_F(DoctorVerb, VerifyWithAPeerPrintsBothSidesViewAndEndsWithIt) {
  const std::vector<std::string> verify = {"cert",   "verify", "--state", "/lib/agent",
                                           "--role", "agent",  "--peer",  "gw1.dmz.example"};
  EXPECT_EQ(postern(verify), 0) << out_.str() << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("\nhandshake with gw1.dmz.example\n"));
  EXPECT_THAT(out_.str(), HasSubstr("own_certificate_at_parent"));
  EXPECT_EQ(last_line(), "It passes: both sides of a handshake would take it.");
  outside_.trouble = Trouble::refused;
  EXPECT_EQ(postern(verify), 1);
  EXPECT_EQ(last_line(), "It passes by itself; the handshake does not (connection_refused).");
  outside_.trouble = Trouble::none;
  outside_.chain = {issued("gw2.dmz.example").certificate};
  EXPECT_EQ(postern(verify), 1);
  EXPECT_EQ(last_line(), "It passes by itself; the handshake does not (wrong_name).");
}

}  // namespace
}  // namespace postern::cli
