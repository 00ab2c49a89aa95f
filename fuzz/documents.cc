// document.md: what nodes believe of what flows down (rule T4).

#include "fuzz/target.h"
#include "node/self.h"
#include "node/signed.h"
#include "node/trust.h"

namespace postern::fuzz {
namespace {

const WallTime kNow = wall_from_ms(1'800'000'000'000);
constexpr std::size_t kDocumentsMax = 4;  // of one input: each costs a signature

const PrivateKey& root() {
  static const PrivateKey key = PrivateKey::generate();
  return key;
}

/// `body` as the group root would say it; what it may say itself is the verifier's matter.
wire::pb::Signed signed_by_root(ByteView body) {
  return node::sign(root(), node::kDocumentContext, to_string(body));
}

}  // namespace

void one_input(ByteView bytes) {
  Input in(bytes);
  const std::uint8_t how = in.u8();
  const Log quiet(Level::error, [](Level, std::string_view) {});
  std::size_t saved = 0;
  node::Trust trust(quiet, root().public_key(), "documents",
                    [&](const std::filesystem::path& path, const Bytes&) {
                      claim(path.parent_path() == "documents", "nothing is saved elsewhere");
                      ++saved;
                    });
  if ((how & 1) == 0) {
    wire::pb::Signed strange;
    if (!strange.ParseFromString(to_string(in.rest()))) return;
    claim(!trust.take(strange, kNow), "nobody but the group is believed");
    claim(saved == 0 && !trust.newest_tick(), "and nothing is kept of it");
    return;
  }
  for (std::size_t i = 0; i < kDocumentsMax && !in.empty(); ++i) {
    const auto document = signed_by_root(in.piece());
    const auto taken = trust.take(document, kNow);
    if (!taken) {
      claim(!taken.error().message.empty(), "a refusal has words");
      continue;
    }
    claim(taken->body.group_id() == node::field_of(root().public_key().node_id().bytes),
          "of this group");
    const auto again = trust.take(document, kNow);
    claim(again && !again->is_new, "what comes twice is new once");
  }
}

std::vector<Bytes> seeds() {
  const auto body = [](node::DocumentType type) {
    wire::pb::DocumentBody body;
    body.set_group_id(node::field_of(root().public_key().node_id().bytes));
    body.set_type(static_cast<std::uint32_t>(type));
    body.set_number(3);
    body.set_generation(1);
    body.set_issued_ms(static_cast<std::uint64_t>(to_ms(kNow)));
    body.set_expires_ms(static_cast<std::uint64_t>(to_ms(kNow)) + 1000);
    return body.SerializeAsString();
  };
  std::vector<Bytes> seeds;
  for (const auto type : {node::DocumentType::delegation, node::DocumentType::deny,
                          node::DocumentType::approval, node::DocumentType::tick}) {
    Writer own, strange;
    own.u8(1);
    put_piece(own, as_bytes(body(type)));
    put_piece(own, as_bytes(body(type)));
    strange.u8(0).bytes(
        as_bytes(node::sign(PrivateKey::generate(), node::kDocumentContext, body(type))
                     .SerializeAsString()));
    seeds.push_back(own.take());
    seeds.push_back(strange.take());
  }
  return seeds;
}

}  // namespace postern::fuzz
