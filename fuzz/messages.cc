// channel.md: the richer messages (protobuf), the refusal, and the hello of a peer.

#include "fuzz/target.h"
#include "net/handshake.h"
#include "node/self.h"
#include "wire/channel.pb.h"

namespace postern::fuzz {
namespace {

constexpr node::Exporter kExporter{};
constexpr Digest kTlsKey{};

const node::Self& self() {
  static const node::Self made{
      node::Role::gateway, "corp", "gw1.dmz.example", PrivateKey::generate(), {}, {}, {}, 1, 0};
  return made;
}

/// Words of a refusal stand in logs of both sides: one line, no control characters, not endless.
void check_words(const std::string& words) {
  claim(!words.empty() && words.size() <= 4096, "words of a bounded size");
  for (const char c : words)
    claim(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "no control characters in words");
}

template <typename Message>
void check_round_trip(ByteView bytes) {
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  const std::string once = message.SerializeAsString();
  Message again;
  claim(again.ParseFromString(once) && again.SerializeAsString() == once,
        "what was read can be written and read");
}

template <typename... Messages>
void check_all(ByteView bytes) {
  (check_round_trip<Messages>(bytes), ...);
}

}  // namespace

void one_input(ByteView bytes) {
  namespace pb = wire::pb;
  check_all<pb::Signed, pb::Statement, pb::Hello, pb::Welcome, pb::Refused, pb::Answer, pb::Head,
            pb::Request, pb::Reply, pb::Admission, pb::AdmissionReply, pb::Notice, pb::HoleQuestion,
            pb::Confirm, pb::TraceQuestion, pb::Path, pb::Move, pb::Presence, pb::JoinAsk,
            pb::JoinRequest, pb::JoinRelay, pb::JoinReply, pb::JoinAnswer, pb::CertificateRequest>(
      bytes);
  if (auto notice = decode_refused(bytes)) {
    claim(notice->words.size() <= 4096, "words of a bounded size");
    claim(decode_refused(encode_refused(*notice)).has_value(), "what we wrote can be read");
  }
  pb::Hello hello;
  if (hello.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    const auto who = node::verify_hello(hello, {kTlsKey, {}, {}}, kExporter, self());
    claim(!who, "nobody proves who they are without a key");
    check_words(who.error().words);
  }
  pb::Welcome welcome;
  if (welcome.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    const auto who = node::verify_welcome(welcome, {kTlsKey, {}, {}}, kExporter, self());
    claim(!who, "nobody proves who they are without a key");
    check_words(who.error().words);
  }
}

std::vector<Bytes> seeds() {
  wire::pb::Hello hello;
  hello.set_version_min(1);
  hello.set_version_max(9);
  hello.set_group("corp");
  hello.set_role(1);
  hello.set_claim(1);
  hello.set_name("a1.dmz.example");
  hello.set_identity_key(node::field_of(PrivateKey::generate().public_key().spki()));
  *hello.mutable_statement() = self().statement(kTlsKey, wall_from_ms(5));
  hello.set_proof(self().proof(kExporter, true));
  hello.set_incarnation(7);
  hello.set_n(1);
  wire::pb::Refused refused;
  refused.set_reason(3);
  refused.set_words("not approved yet");
  wire::pb::Presence presence;
  return {to_bytes(hello.SerializeAsString()), to_bytes(refused.SerializeAsString()),
          to_bytes(hello.statement().SerializeAsString()), Bytes{}};
}

}  // namespace postern::fuzz
