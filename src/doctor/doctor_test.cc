#include "doctor/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/fake_disk.h"
#include "doctor/remedy.h"
#include "identity/state_folder.h"
#include "identity/test_folder.h"
#include "node/test_group.h"

namespace postern::doctor {
namespace {

using testing::HasSubstr;
using testing_support::kWall;
using testing_support::recipe_for;
using testing_support::TestGroup;
using testing_support::TestNode;
using Trouble = PeerProbe::Trouble;

constexpr const char* kName = "web1.dmz.example";
constexpr const char* kParent = "gw1.dmz.example";
constexpr const char* kAddress = "192.0.2.1";

/// A network with one parent in it, that answers as the test says.
class FakeOutside final : public Outside {
 public:
  Result<std::vector<std::string>> addresses_of(const std::string& host, Duration) override {
    const auto found = names.find(host);
    if (found == names.end()) return fail(Errc::invalid, "resolve {}: no such name", host);
    return found->second;
  }
  std::optional<std::string> name_of_address(const std::string&, Duration) override {
    return reverse;
  }
  PeerProbe probe(const ProbeRequest& request) override {
    probed.push_back(request.address);
    asked_for = request.name;
    showed_certificate = request.tls->credential().has_value();
    PeerProbe result = answer;
    result.where = fmt::format("{}:{}", request.address, request.port);
    if (dead.contains(request.address)) result.trouble = Trouble::refused;
    if (result.trouble != Trouble::none && result.trouble != Trouble::no_protocol) return result;
    result.shaken = true;
    result.peer.chain = chain;
    result.peer.exporter.fill(std::byte{7});
    if (request.tls->credential())
      result.peer.own_tls_key = request.tls->credential()->key.spki_sha256();
    result.finding = request.tls->objection(chain, request.name);
    if (request.first_words && !result.refused && !result.finding && result.ended.empty()) {
      said = request.first_words(result.peer);
      if (said && on_hello) on_hello(result);
    }
    return result;
  }
  std::optional<WallTime> clock_of(const std::string&, const std::string&, std::uint16_t,
                                   const Anchors&, Duration) override {
    ++clocks_asked;
    return clock;
  }
  Program program_at(const std::filesystem::path&, Duration) override { return program; }

  std::map<std::string, std::vector<std::string>> names;
  std::optional<std::string> reverse;
  PeerProbe answer;
  std::vector<Certificate> chain;
  std::set<std::string> dead;  // addresses where nobody listens
  std::function<void(PeerProbe&)> on_hello;
  std::optional<WallTime> clock;
  Program program{Program::State::stopped, false, "it is not running"};

  std::vector<std::string> probed;
  std::string asked_for;
  bool showed_certificate = false;
  std::optional<wire::Message> said;
  int clocks_asked = 0;
};

class DoctorTest : public testing::Test {
 protected:
  DoctorTest() {
    clock_.set_wall(kWall);
    configure(fmt::format("[{{name: {}, address: '{}:5723'}}]", kParent, kAddress));
    install(disk_, "/state", node_.credential());
    outside_.names = {{kName, {"192.0.2.7"}}, {kAddress, {kAddress}}};
    outside_.chain = {parent_.certificate()};
    outside_.on_hello = [this](PeerProbe& probe) { welcome(probe); };
    patient_.role = "agent";
    patient_.config = "/etc/agent.yaml";
  }

  void configure(const std::string& parents, const std::string& more = "") {
    put(disk_, "/etc/agent.yaml",
        fmt::format("group: demo\nname: {}\nstate_dir: /state\nparents: {}\n{}", kName, parents,
                    more));
  }
  static void put(Disk& disk, const std::filesystem::path& file, std::string_view text) {
    ASSERT_TRUE(disk.make_directories(file.parent_path()));
    const auto written = disk.write_file(file, as_bytes(text), 0600);
    ASSERT_TRUE(written) << written.error().message;
  }
  void install(Disk& disk, const std::filesystem::path& path, const TlsCredential& credential) {
    StateFolder folder(disk, path);
    ASSERT_TRUE(folder.prepare());
    ASSERT_TRUE(folder.install_tls(credential));
    ASSERT_TRUE(folder.install_anchors(group_.anchors()));
    ASSERT_TRUE(folder.pin_group_root(group_.root.public_key()));
    put(disk, path / "identity.key", node_.self.identity.to_pem());
    put(disk, path / "incarnation", std::string("\x0b\0\0\0\0\0\0\0", 8));
  }
  void welcome(PeerProbe& probe) {
    wire::pb::Welcome welcome = parent_.welcome(probe.peer.exporter);
    welcome.set_time_ms(to_ms(clock_.wall()));
    probe.answer = node::message_of(wire::Type::welcome, welcome);
  }
  static RefusalNotice notice(wire::Refusal reason) {
    return {reason, "it will not have us", kWall, {}, kParent, false};
  }

  Diagnosis examine() { return Doctor(outside_, disk_, clock_).examine(patient_); }
  static const Step* find(const Diagnosis& diagnosis, const std::string& id) {
    for (const Step& step : diagnosis.steps)
      if (step.id == id) return &step;
    return nullptr;
  }
  /// "pass ok", "fail expired": of a step that there must be.
  static std::string verdict(const Diagnosis& diagnosis, const std::string& id) {
    const Step* step = find(diagnosis, id);
    if (step == nullptr) return "no such step";
    return fmt::format("{} {}", to_string(step->verdict), step->reason);
  }
  /// "connect connection_refused": what the operator is told last.
  static std::string conclusion(const Diagnosis& diagnosis) {
    const auto wrong = first_wrong({diagnosis});
    return wrong ? wrong->id + " " + wrong->reason : "nothing";
  }

  TestGroup group_;
  TestNode node_ = group_.node(node::Role::agent, kName);
  TestNode parent_ = group_.node(node::Role::gateway, kParent);
  FakeDisk disk_{1};
  FakeClock clock_;
  FakeOutside outside_;
  Patient patient_;
};

TEST_F(DoctorTest, AGoodNodeThatDoesNotRunIsWelcomeWhereItWouldReport) {
  const Diagnosis found = examine();
  EXPECT_TRUE(found.well()) << conclusion(found);
  EXPECT_EQ(verdict(found, "approval"), "pass ok");
  EXPECT_EQ(verdict(found, "group"), "pass ok");
  EXPECT_EQ(verdict(found, "version"), "pass ok");
  EXPECT_EQ(verdict(found, "clock"), "pass ok");
  EXPECT_EQ(verdict(found, "own_certificate_at_parent"), "pass ok");
  EXPECT_EQ(outside_.asked_for, kParent);
  EXPECT_EQ(conclusion(found), "program not_running");
}

TEST_F(DoctorTest, NothingIsWrongWithOneThatRunsAndDelivers) {
  outside_.program = {Program::State::running, true, "ready"};
  EXPECT_EQ(conclusion(examine()), "nothing");
}

TEST_F(DoctorTest, EveryStepSaysAWordAlsoWhenItWasNotReached) {
  outside_.names.erase(kAddress);
  const Diagnosis found = examine();
  for (const char* id : {"connect", "interception", "tls", "parent_certificate",
                         "own_certificate_at_parent", "clock", "approval", "group", "version"})
    EXPECT_EQ(verdict(found, id), "not_reached not_reached") << id;
  EXPECT_EQ(conclusion(found), "parent_resolution not_resolved");
  for (const Step& step : found.steps) EXPECT_NE(step.words, "") << step.id;
}

TEST_F(DoctorTest, EveryFailureOfTheWayHasItsOwnReasonAndRemedy) {
  const std::map<Trouble, std::string> cases = {
      {Trouble::refused, "connect connection_refused"},
      {Trouble::timed_out, "connect connect_timed_out"},
      {Trouble::unreachable, "connect unreachable"},
      {Trouble::failed, "connect connect_failed"},
      {Trouble::silent, "tls tls_timed_out"},
      {Trouble::hung_up, "tls hung_up"},
      {Trouble::http, "interception http_answer"},
      {Trouble::not_tls, "interception not_tls"},
      {Trouble::tls_version, "tls tls_version"},
      {Trouble::no_protocol, "interception no_protocol"},
      {Trouble::tls_failed, "tls tls_failed"},
  };
  for (const auto& [trouble, expected] : cases) {
    outside_.answer.trouble = trouble;
    const Diagnosis found = examine();
    EXPECT_EQ(conclusion(found), expected);
    EXPECT_FALSE(found.well());
    EXPECT_NE(first_wrong({found})->fix, "") << expected;
    EXPECT_EQ(verdict(found, "approval"), "not_reached not_reached") << expected;
  }
}

TEST_F(DoctorTest, EveryAddressOfANameIsTried) {
  configure("[gw1.dmz.example]");
  outside_.names[kParent] = {"192.0.2.8", "192.0.2.9"};
  outside_.dead = {"192.0.2.8"};
  EXPECT_TRUE(examine().well());
  EXPECT_THAT(outside_.probed, testing::ElementsAre("192.0.2.8", "192.0.2.9"));
  outside_.dead.insert("192.0.2.9");
  const Diagnosis found = examine();
  EXPECT_EQ(conclusion(found), "connect connection_refused");
  EXPECT_THAT(first_wrong({found})->words, HasSubstr("the last of 2 addresses"));
}

TEST_F(DoctorTest, ACertificateOfAnotherCaIsCalledInterception) {
  TestGroup other;
  other.authority =
      make(testing_support::long_lived(testing_support::authority_recipe("Proxy CA")));
  outside_.chain = {other.node(node::Role::gateway, kParent).certificate()};
  const Diagnosis found = examine();
  EXPECT_EQ(conclusion(found), "interception unknown_ca");
  EXPECT_EQ(verdict(found, "parent_certificate.issuer"), "fail unknown_ca");
  EXPECT_EQ(verdict(found, "own_certificate_at_parent"), "pass ok");
  EXPECT_FALSE(outside_.said.has_value()) << "no hello to whom we do not believe";
  EXPECT_EQ(outside_.clocks_asked, 0);
}

TEST_F(DoctorTest, TheParentsCertificateIsHeldAgainstTheNameThatIsDialled) {
  outside_.chain = {group_.node(node::Role::gateway, "gw2.dmz.example").certificate()};
  const Diagnosis found = examine();
  EXPECT_EQ(conclusion(found), "parent_certificate.name wrong_name");
  EXPECT_EQ(verdict(found, "interception"), "pass ok");
}

TEST_F(DoctorTest, AnExpiredCertificateIsFoundHereAndNamedTheSameByTheParent) {
  auto recipe = recipe_for(kName);
  recipe.not_after = kWall - std::chrono::hours(1);
  node_.tls = make(recipe, &group_.authority);
  install(disk_, "/state", node_.credential());
  outside_.answer.refused = notice(wire::Refusal::expired);
  const Diagnosis found = examine();
  EXPECT_EQ(conclusion(found), "own_certificate.validity expired");
  EXPECT_EQ(verdict(found, "own_certificate_at_parent"), "fail expired");
  EXPECT_THAT(find(found, "own_certificate_at_parent")->words, HasSubstr("its clock says"));
}

TEST_F(DoctorTest, WhatTheParentSaysStandsAtTheStepThatItIsAbout) {
  const std::map<wire::Refusal, std::string> cases = {
      {wire::Refusal::unknown_ca, "own_certificate_at_parent"},
      {wire::Refusal::wrong_name, "own_certificate_at_parent"},
      {wire::Refusal::wrong_group, "group"},
      {wire::Refusal::version, "version"},
      {wire::Refusal::pending_approval, "approval"},
      {wire::Refusal::removed, "approval"},
      {wire::Refusal::clash, "approval"},
      {wire::Refusal::busy, "approval"},
  };
  for (const auto& [reason, step] : cases) {
    outside_.on_hello = [&](PeerProbe& probe) { probe.refused = notice(reason); };
    const Diagnosis found = examine();
    EXPECT_EQ(conclusion(found), fmt::format("{} {}", step, wire::to_string(reason)));
    EXPECT_NE(first_wrong({found})->fix, "") << step;
  }
}

TEST_F(DoctorTest, AReasonThatThisVersionDoesNotKnowIsPassedOnInWords) {
  outside_.on_hello = [](PeerProbe& probe) { probe.refused = notice(wire::refusal_of_code(200)); };
  const Diagnosis found = examine();
  EXPECT_EQ(conclusion(found), "approval unknown");
  EXPECT_THAT(first_wrong({found})->words, HasSubstr("it will not have us"));
}

TEST_F(DoctorTest, ItSaysTheHelloOfTheNodeAndChangesNothing) {
  const Bytes before = disk_.contents("/state/incarnation");
  const std::uint64_t syncs = disk_.syncs();
  ASSERT_TRUE(examine().well());
  ASSERT_TRUE(outside_.said.has_value());
  wire::pb::Hello hello;
  ASSERT_TRUE(hello.ParseFromArray(outside_.said->bytes().data(),
                                   static_cast<int>(outside_.said->bytes().size())));
  node::Exporter exporter;
  exporter.fill(std::byte{7});
  const auto who = node::verify_hello(hello, node_.mark(), exporter, parent_.self);
  ASSERT_TRUE(who) << who.error().words;
  EXPECT_EQ(who->id, node_.self.id);
  EXPECT_EQ(who->incarnation, 11u);
  EXPECT_EQ(disk_.contents("/state/incarnation"), before);
  EXPECT_EQ(disk_.syncs(), syncs);
}

TEST_F(DoctorTest, ANodeThatRunsIsNotDisturbedByAnotherHello) {
  outside_.program = {Program::State::running, false,
                      fmt::format("no parent is attached: {} refuses this node: not yet "
                                  "(pending_approval)",
                                  kParent)};
  const Diagnosis found = examine();
  EXPECT_FALSE(outside_.said.has_value());
  EXPECT_EQ(conclusion(found), "approval pending_approval");
  EXPECT_THAT(first_wrong({found})->fix, HasSubstr("postern pending approve web1.dmz.example"));
}

TEST_F(DoctorTest, WhatARunningNodeSaysOfAnotherParentIsNotThisOnesWord) {
  outside_.program = {Program::State::running, false,
                      "no parent is attached: gw2.dmz.example refuses this node: no (removed)"};
  const Diagnosis found = examine();
  EXPECT_EQ(verdict(found, "approval"), "not_reached not_reached");
  EXPECT_TRUE(found.well());
}

TEST_F(DoctorTest, WhereItIsNotKnownWhetherTheNodeRunsNoHelloIsSaid) {
  outside_.program = {Program::State::unknown, false, "permission denied"};
  const Diagnosis found = examine();
  EXPECT_FALSE(outside_.said.has_value());
  EXPECT_EQ(verdict(found, "approval"), "not_reached not_reached");
}

TEST_F(DoctorTest, AClockMoreThanAMinuteOffIsAWarningEitherWay) {
  const auto at = [this](std::chrono::seconds ahead) {
    outside_.on_hello = [this, ahead](PeerProbe& probe) {
      wire::pb::Welcome welcome = parent_.welcome(probe.peer.exporter);
      welcome.set_time_ms(to_ms(clock_.wall() + ahead));
      probe.answer = node::message_of(wire::Type::welcome, welcome);
    };
    return *find(examine(), "clock");
  };
  using std::chrono::seconds;
  EXPECT_EQ(at(seconds(60)).verdict, Verdict::passed);
  EXPECT_EQ(at(seconds(61)).verdict, Verdict::warning);
  EXPECT_THAT(at(seconds(61)).words, HasSubstr("61 s ahead of"));
  EXPECT_EQ(at(seconds(-61)).reason, "clock_off");
  EXPECT_THAT(at(seconds(-3600)).words, HasSubstr("3600 s behind"));
}

TEST_F(DoctorTest, TheClockOfASilentParentIsAskedForOverHttp) {
  outside_.program = {Program::State::running, true, "ready"};
  outside_.clock = kWall + std::chrono::hours(2);
  const Diagnosis found = examine();
  EXPECT_EQ(outside_.clocks_asked, 1);
  EXPECT_EQ(conclusion(found), "clock clock_off");
  EXPECT_TRUE(found.well()) << "a warning only";
}

TEST_F(DoctorTest, AKeyThatOthersCanReadIsFoundBeforeAnythingElse) {
  testing_support::TemporaryFolder folder;
  PosixDisk disk;
  install(disk, folder / "state", node_.credential());
  put(disk, folder / "agent.yaml",
      fmt::format("group: demo\nname: {}\nstate_dir: {}\nparents: [{}]\n", kName,
                  (folder / "state").string(), kParent));
  ASSERT_TRUE(disk.set_mode(folder / "state/tls/key.pem", 0644));
  patient_.config = folder / "agent.yaml";
  const Diagnosis found = Doctor(outside_, disk, clock_).examine(patient_);
  EXPECT_EQ(conclusion(found), "own_certificate.key_permissions unsafe_permissions");
  ASSERT_TRUE(disk.set_mode(folder / "state/tls/key.pem", 0600));
  ASSERT_TRUE(disk.set_mode(folder / "state/identity.key", 0640));
  EXPECT_EQ(conclusion(Doctor(outside_, disk, clock_).examine(patient_)),
            "state_folder unsafe_permissions");
}

TEST_F(DoctorTest, WithoutACertificateOneIsToBeRequested) {
  ASSERT_TRUE(disk_.remove("/state/tls/chain.pem"));
  const Diagnosis found = examine();
  EXPECT_EQ(conclusion(found), "own_certificate.form no_certificate");
  EXPECT_THAT(first_wrong({found})->fix, HasSubstr("postern cert request --name web1.dmz.example"));
  EXPECT_FALSE(outside_.showed_certificate);
  EXPECT_EQ(verdict(found, "own_certificate_at_parent"), "not_reached not_reached");
}

TEST_F(DoctorTest, ABadConfigurationIsNamedWithItsLine) {
  configure("[gw1.dmz.example]", "colour: red\n");
  const Diagnosis found = examine();
  EXPECT_EQ(conclusion(found), "configuration bad_configuration");
  EXPECT_THAT(first_wrong({found})->words, HasSubstr("/etc/agent.yaml:5"));
}

TEST_F(DoctorTest, AFullDiskFailsAndASmallOneWarns) {
  outside_.program = {Program::State::running, true, "ready"};
  disk_.set_bytes_max(100u << 20);
  EXPECT_EQ(conclusion(examine()), "room disk_smaller_than_limit");
  disk_.set_bytes_max(64u << 10);
  EXPECT_EQ(conclusion(examine()), "room disk_full");
}

TEST_F(DoctorTest, AnUnpinnedNodeIsWarned) {
  ASSERT_TRUE(disk_.remove("/state/group.pem"));
  EXPECT_EQ(verdict(examine(), "group_root"), "warning unpinned");
}

TEST_F(DoctorTest, AMachineWithoutARoleCanStillAskForTheWay) {
  patient_ = {};
  EXPECT_EQ(conclusion(examine()), "configuration not_set_up");
  patient_.to = *parse_peer(kParent);
  outside_.names[kParent] = {kAddress};
  outside_.answer.trouble = Trouble::timed_out;
  EXPECT_EQ(conclusion(examine()), "connect connect_timed_out");
}

TEST_F(DoctorTest, AParentNamedOnTheCommandLineIsDialledAsTheConfigurationSays) {
  patient_.to = *parse_peer("gw1.dmz.example:443");
  outside_.dead = {kAddress};
  const Diagnosis found = examine();
  EXPECT_THAT(outside_.probed, testing::ElementsAre(kAddress));
  EXPECT_THAT(find(found, "connect")->words, HasSubstr("192.0.2.1:443"));
}

TEST_F(DoctorTest, AParentMayBeNamedWithItsAddress) {
  patient_.to = *parse_peer("GW1.dmz.example=192.0.2.9:443");
  outside_.names["192.0.2.9"] = {"192.0.2.9"};
  EXPECT_TRUE(examine().well());
  EXPECT_THAT(outside_.probed, testing::ElementsAre("192.0.2.9"));
  EXPECT_EQ(outside_.asked_for, kParent);
  EXPECT_EQ(patient_.to->dial.port, 443);
  for (const char* wrong : {"", "192.0.2.1", "192.0.2.1=192.0.2.1:5723", "*.dmz.example", "a:b:c"})
    EXPECT_FALSE(parse_peer(wrong).has_value()) << wrong;
}

TEST_F(DoctorTest, AHandshakeAloneAsksForNoApproval) {
  const auto steps = shake_hands(outside_, clock_, {kParent, {kAddress, 5723}}, node_.credential(),
                                 group_.anchors(), "agent", kName, std::chrono::seconds(1));
  ASSERT_FALSE(steps.empty());
  for (const Step& step : steps) EXPECT_NE(step.verdict, Verdict::failed) << step.words;
  EXPECT_EQ(steps.back().id, "clock");
  EXPECT_FALSE(outside_.said.has_value());
}

TEST_F(DoctorTest, WordsOfPeersAreReadableWhateverTheyAre) {
  outside_.on_hello = [](PeerProbe& probe) {
    probe.refused = notice(wire::Refusal::busy);
    probe.refused->words = "caf\xe9";
  };
  EXPECT_THAT(first_wrong({examine()})->words, testing::Not(HasSubstr("\xe9")));
}

TEST(Remedy, EveryReasonThatAParentMayGiveHasOne) {
  const Place place{"agent", kName, "/etc/agent.yaml", "/state", kParent, "192.0.2.1:5723"};
  for (std::uint32_t code = 1; code < 64; ++code) {
    const std::string reason = wire::to_string(wire::refusal_of_code(code));
    if (reason == "unknown" || reason == "superseded") continue;
    EXPECT_NE(remedy(reason, place) + remedy_for_own_certificate(reason, place), "") << reason;
  }
  EXPECT_EQ(remedy("no such reason", place), "");
}

}  // namespace
}  // namespace postern::doctor
