#include "server/rollover.h"

#include <gmock/gmock.h>

#include "server/test_server.h"

namespace postern {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing_support::FakeChannel;
using testing_support::kWall;
using testing_support::TestNode;

// ---- The files

class RolloverFiles : public testing::Test {
 protected:
  static void furnish(FakeDisk& disk, const CertificateAuthority& root) {
    ASSERT_TRUE(disk.make_directories("/state"));
    ASSERT_TRUE(disk.write_file("/state/ca.key", as_bytes(root.key_pem()), 0600));
    ASSERT_TRUE(disk.write_file("/state/ca.pem", as_bytes(root.certificate().pem()), 0644));
    SeededRandom random(3);
    ASSERT_TRUE(GroupFolder(disk, "/state").install_issuing(*root.make_issuing(kWall, random)));
  }
  Certificate leaf(GroupFolder& folder) {
    const TlsKey key = TlsKey::generate(TlsKey::Kind::ec);
    auto authority = folder.authority();
    EXPECT_TRUE(authority) << authority.error().message;
    return *authority->sign(as_bytes(*make_request(key, "gw1.site.example")), {.now = kWall},
                            random_);
  }

  SeededRandom random_{7};
  CertificateAuthority root_ = std::move(*CertificateAuthority::create("demo", kWall, random_));
};

TEST_F(RolloverFiles, TheNextOneHasANameOfItsOwnAndSignsAfterTheSwitchOnly) {
  FakeDisk disk;
  furnish(disk, root_);
  GroupFolder folder(disk, "/state");
  const Certificate old_leaf = leaf(folder);
  const auto next = folder.prepare_next(kWall, random_);
  ASSERT_TRUE(next) << next.error().message;
  EXPECT_EQ(next->subject_common_name(), "demo Postern CA G2");
  EXPECT_EQ(*folder.prepare_next(kWall, random_), *next) << "asked twice, it is the same one";
  EXPECT_EQ(folder.rollover()->next, *next);
  EXPECT_THAT(leaf(folder).issuer(), Not(HasSubstr("G2")));

  ASSERT_TRUE(folder.switch_to_next());
  EXPECT_EQ(*folder.root_certificate(), *next);
  EXPECT_EQ(folder.root()->certificate(), *next) << "with its key";
  EXPECT_EQ(folder.rollover()->former, root_.certificate());
  EXPECT_THAT(leaf(folder).issuer(), HasSubstr("G2"));
  EXPECT_TRUE(folder.authority()->issued(old_leaf)) << "or it could not be renewed";
  ASSERT_TRUE(folder.forget_former());
  EXPECT_EQ(*folder.rollover(), GroupFolder::Rollover{});
  EXPECT_TRUE(folder.authority()->issued(old_leaf)) << "of one that was away";

  const auto third = folder.prepare_next(kWall, random_);
  EXPECT_EQ(third->subject_common_name(), "demo Postern CA G3");
}

TEST_F(RolloverFiles, TheKeyOfTheFormerOneLeavesTheServer) {
  FakeDisk disk;
  furnish(disk, root_);
  GroupFolder folder(disk, "/state");
  ASSERT_TRUE(folder.prepare_next(kWall, random_));
  ASSERT_TRUE(folder.switch_to_next());
  const auto names = disk.list("/state");
  ASSERT_TRUE(names);
  EXPECT_THAT(*names,
              testing::UnorderedElementsAre("ca.key", "ca.pem", "issuing.pem", "former-ca.pem"));
  for (const std::string& name : *names)
    EXPECT_THAT(to_string(*disk.read_file("/state/" + name, kPemBytesMax)),
                Not(HasSubstr(root_.key_pem())))
        << name;
}

// Whatever call of the disk fails: certificates can be signed, and calling again completes it.
TEST_F(RolloverFiles, AStepThatBreaksOffIsMadeAgain) {
  for (std::uint64_t nth = 1;; ++nth) {
    FakeDisk disk;
    furnish(disk, root_);
    GroupFolder folder(disk, "/state");
    disk.fail_at(nth);
    auto prepared = folder.prepare_next(kWall, random_);
    if (!prepared) {
      disk.heal();
      leaf(folder);
      prepared = folder.prepare_next(kWall, random_);
    }
    ASSERT_TRUE(prepared) << nth;
    const Certificate next = *prepared;
    const auto switched = folder.switch_to_next();
    if (!switched) {
      disk.heal();
      leaf(folder);
      // Called again unless the error came after everything was done.
      if (folder.rollover()->next) {
        ASSERT_TRUE(folder.switch_to_next()) << nth;
      }
    }
    const bool failed = disk.failed();
    disk.heal();
    ASSERT_TRUE(folder.root()) << nth << ": " << folder.root().error().message;
    EXPECT_EQ(folder.root()->certificate(), next) << nth;
    EXPECT_EQ(folder.rollover()->former, root_.certificate()) << nth;
    EXPECT_THAT(leaf(folder).issuer(), HasSubstr("G2")) << nth;
    EXPECT_THAT(*folder.issuing_certificates(), SizeIs(2)) << nth;
    if (!failed) break;
  }
}

// ---- The server

class RolloverServer : public testing_support::ServerTest {
 protected:
  std::string phase(const std::string& body) {
    const auto at = body.find(R"("phase":")");
    return at == std::string::npos ? body : body.substr(at + 9, body.find('"', at + 9) - at - 9);
  }
  HttpResponse step(const char* name, const char* body = "{}") {
    return first().ask("POST", std::string("/api/v1/authority/") + name,
                       std::string_view(name) == "roll" ? "" : body);
  }
  std::string shown() { return first().ask("GET", "/api/v1/authority").body; }
  /// The node's own word that these anchors are in force there, and which certificate it shows.
  wire::Message head(const TestNode& node, std::uint64_t number, std::uint64_t anchors,
                     const CertificateMark& certificate) {
    wire::pb::Head head;
    head.set_node_id(node::field_of(node.self.id.bytes));
    head.set_number(number);
    head.set_issued_ms(to_ms(clock_.wall()));
    head.set_pinned_root_sha256(node::field_of(group_.root.public_key().fingerprint()));
    if (anchors != 0) {
      auto* known = head.add_documents();
      known->set_type(static_cast<std::uint32_t>(node::DocumentType::anchors));
      known->set_generation(1);
      known->set_number(anchors);
    }
    head.set_tls_key_sha256(node::field_of(certificate.tls_key));
    head.set_certificate_serial(node::field_of(serial_bytes(certificate.serial)));
    head.set_certificate_issuer_sha256(node::field_of(certificate.issuer));
    const std::string bytes =
        node::sign(node.self.identity, node::kHeadContext, head.SerializeAsString())
            .SerializeAsString();
    return wire::make_message(wire::Type::head, wire::write_stamped({}, as_bytes(bytes)));
  }
  static node::AnchorList last_list(const FakeChannel& channel) {
    const auto found = documents(channel, node::DocumentType::anchors);
    EXPECT_THAT(found, Not(IsEmpty()));
    if (found.empty()) return {};
    return *node::AnchorList::from_payload(as_bytes(found.back().payload()));
  }
  CertificateMark of_next() {
    CertificateMark mark = gateway_.mark();
    mark.serial = "77";
    mark.issuer[0] ^= std::byte{1};  // whoever it is, not the former one
    return mark;
  }
};

TEST_F(RolloverServer, GoesFromOneToTheNextAsTheNodesFollow) {
  auto gateway = first().attach(gateway_);
  gateway->deliver(head(gateway_, 1, 0, gateway_.mark()));
  first().settle_down();
  EXPECT_EQ(phase(shown()), "none");
  EXPECT_THAT(shown(), HasSubstr(R"("nodes":1,"nodes_to_come":2)"));
  EXPECT_EQ(step("switch").status, 409u);
  EXPECT_EQ(step("finish").status, 409u);

  const auto rolled = step("roll");
  EXPECT_EQ(rolled.status, 200u) << rolled.body;
  EXPECT_EQ(phase(rolled.body), "spreading");
  EXPECT_THAT(rolled.body, HasSubstr("does not trust the next CA yet"));
  const auto spreading = last_list(*gateway);
  ASSERT_THAT(spreading.anchors, SizeIs(2));
  EXPECT_FALSE(spreading.anchors[0].retiring || spreading.anchors[1].retiring);
  EXPECT_EQ(step("roll").status, 200u);
  EXPECT_THAT(documents(*gateway, node::DocumentType::anchors), SizeIs(1)) << "said once";
  EXPECT_THAT(first().ask("GET", "/api/v1/group").body,
              HasSubstr(to_hex(spreading.anchors[1].certificate.fingerprint())))
      << "who joins from now on trusts both";

  const auto refused = step("switch");
  EXPECT_EQ(refused.status, 409u);
  EXPECT_THAT(refused.body, HasSubstr(gateway_.self.name));
  EXPECT_EQ(step("finish").status, 409u);
  gateway->deliver(head(gateway_, 2, 1, gateway_.mark()));
  first().settle_down();
  EXPECT_THAT(shown(), HasSubstr(R"("waiting":[])"));

  const auto switched = step("switch");
  EXPECT_EQ(switched.status, 200u) << switched.body;
  EXPECT_EQ(phase(switched.body), "renewing");
  EXPECT_THAT(switched.body, HasSubstr("uses a certificate of the former CA"));
  const auto renewing = last_list(*gateway);
  ASSERT_THAT(renewing.anchors, SizeIs(2));
  EXPECT_TRUE(renewing.anchors[0].retiring);
  EXPECT_FALSE(renewing.anchors[1].retiring);
  EXPECT_EQ(step("roll").status, 409u);
  pass(std::chrono::seconds(2));
  EXPECT_THAT(gateway->of_type(wire::Type::credential), SizeIs(1))
      << "the server's own comes first";

  EXPECT_EQ(step("finish").status, 409u);
  gateway->deliver(head(gateway_, 3, 2, of_next()));
  first().settle_down();
  const auto finished = step("finish");
  EXPECT_EQ(finished.status, 200u) << finished.body;
  EXPECT_EQ(phase(finished.body), "none");
  const auto after = last_list(*gateway);
  ASSERT_THAT(after.anchors, SizeIs(1));
  EXPECT_THAT(after.withdrawn, ElementsAre(group_.authority.certificate.fingerprint()));
  EXPECT_THAT(first().ask("GET", "/api/v1/audit?limit=9").body, HasSubstr("CA roll-over finished"));
  EXPECT_EQ(step("finish").status, 409u);
}

TEST_F(RolloverServer, WhoeverIsLeftBehindIsLeftBehindKnowingly) {
  auto gateway = first().attach(gateway_);
  gateway->deliver(head(gateway_, 1, 0, gateway_.mark()));
  first().settle_down();
  ASSERT_EQ(step("roll").status, 200u);
  EXPECT_EQ(step("switch", R"({"leave_behind":false})").status, 409u);
  EXPECT_EQ(step("switch", R"({"leave_behind":"yes"})").status, 422u);
  EXPECT_EQ(step("switch", R"({"leave_behind":true})").status, 200u);
  EXPECT_EQ(step("finish", R"({"leave_behind":true})").status, 200u);
}

TEST_F(RolloverServer, WhoComesLaterIsToldToo) {
  ASSERT_EQ(step("roll").status, 200u);
  auto gateway = first().attach(gateway_);
  EXPECT_THAT(last_list(*gateway).anchors, SizeIs(2));
}

TEST_F(RolloverServer, ANodeThatTakesNoWordOfTheGroupIsNamed) {
  store::Node node;
  EXPECT_EQ(why_waiting(node, {}), "has not said yet whom it trusts");
  wire::pb::Signed message;
  wire::pb::Head head;
  message.set_body(head.SerializeAsString());
  node.head = to_bytes(std::string_view(message.SerializeAsString()));
  message.set_signature("x");
  node.head = to_bytes(std::string_view(message.SerializeAsString()));
  EXPECT_THAT(why_waiting(node, {}), HasSubstr("import the group file"));
}

}  // namespace
}  // namespace postern
