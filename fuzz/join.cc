// Join tokens as somebody types them, requests as strangers send them, answers as somebody in
// between makes them up (docs/formats/join.md). The first byte says which.

#include "node/join.h"
#include "fuzz/target.h"

namespace postern::fuzz {
namespace {

constexpr WallTime kNow{std::chrono::milliseconds(1'800'000'000'000)};

node::JoinToken a_token() {
  node::JoinToken token;
  token.group = "demo";
  token.anchors_sha256.resize(1);
  token.addresses = {"gw1.dmz.example"};
  return token;
}

const PrivateKey& identity() {
  static const PrivateKey key = PrivateKey::from_seed(Bytes(32), "identity");
  return key;
}

node::Joining joining() {
  static const TlsKey key = TlsKey::generate(TlsKey::Kind::ec);
  auto made =
      node::Joining::create(a_token(), {"web.dmz.example", node::Role::agent, identity(), key});
  claim(made.has_value(), "a request can be made");
  return std::move(*made);
}

}  // namespace

void one_input(ByteView bytes) {
  if (bytes.empty()) return;
  const std::string_view text = as_text(bytes.subspan(1));
  switch (std::to_integer<int>(bytes[0]) % 3) {
    case 0:
      if (const auto token = node::parse_join_token(text)) {
        const auto again = node::parse_join_token(node::join_token_text(*token));
        claim(again && again->seed == token->seed && again->addresses == token->addresses,
              "a token comes back as it was");
      }
      return;
    case 1:
      if (const auto ask = node::read_join_request(text)) {
        claim(ask->identity == identity().public_key(), "nobody else has signed one");
        claim(ask->name.size() <= 253, "no name above its limit");
      }
      return;
    default: {
      SeededRandom random(1);
      node::Joining asker = joining();
      asker.ask(kNow, random);
      claim(!asker.on_answer(text, kNow), "nobody here has the key of a group");
    }
  }
}

std::vector<Bytes> seeds() {
  SeededRandom random(1);
  node::Joining asker = joining();
  const PrivateKey root = PrivateKey::from_seed(Bytes(32), "root");
  wire::pb::JoinReply reply;
  reply.set_outcome(1);
  const auto with = [](char kind, const std::string& text) { return to_bytes(kind + text); };
  const std::string request = asker.ask(kNow, random);
  claim(node::read_join_request(request).has_value(), "the seed gets in");
  return {with(0, node::join_token_text(a_token())), with(1, request),
          with(2, node::join_answer(reply, root.public_key(), {}, root, 1))};
}

}  // namespace postern::fuzz
