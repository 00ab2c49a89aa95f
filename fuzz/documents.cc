// document.md: what nodes believe of what flows down (rule T4).

#include "fuzz/target.h"
#include "node/self.h"
#include "node/signed.h"
#include "node/trust.h"

namespace postern::fuzz {
namespace {

const WallTime kNow = wall_from_ms(1'800'000'000'000);
constexpr std::uint64_t kNumber = 3;
constexpr std::uint8_t kByRoot = 1;    // the group root signs what follows
constexpr std::uint8_t kAnyGroup = 2;  // whatever group it says
constexpr std::size_t kFileNameBytesMax = 255;
constexpr std::size_t kDocumentsMax = 4;  // of one input: each costs a signature

const PrivateKey& root() {
  static const PrivateKey key = PrivateKey::generate();
  return key;
}

/// Whoever finds the group id finds every other check; the seeds were made under another root.
std::string of_this_group(ByteView bytes) {
  wire::pb::DocumentBody body;
  if (!body.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return to_string(bytes);
  body.set_group_id(node::field_of(root().node_id().bytes));
  return body.SerializeAsString();
}

/// `body` as the group root would say it; what it may say itself is the verifier's matter.
wire::pb::Signed signed_by_root(const std::string& body) {
  return node::sign(root(), node::kDocumentContext, body);
}

/// A believer, and what it was told to save.
struct Believer {
  std::size_t saved = 0;
  Log quiet{Level::error, [](Level, std::string_view) {}};
  node::Trust trust{quiet, root().public_key(), "documents",
                    [this](const std::filesystem::path& path, const Bytes& bytes) {
                      claim(path.parent_path() == "documents", "nothing is saved elsewhere");
                      claim(path.filename().string().size() <= kFileNameBytesMax,
                            "in files that can be made");
                      wire::pb::Signed again;
                      claim(again.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())),
                            "what is saved can be read");
                      ++saved;
                    }};
};

void check_believed(Believer& believer, const wire::pb::Signed& document,
                    const wire::pb::DocumentBody& body) {
  claim(body.group_id() == node::field_of(root().node_id().bytes), "of this group");
  claim(document.body().size() <= node::kDocumentBodyMax, "of a bounded size (G5)");
  const std::size_t saved = believer.saved;
  const auto again = believer.trust.take(document, kNow);
  claim(again && !again->is_new && believer.saved == saved, "what comes twice is new once");
  wire::pb::DocumentBody other = body;
  other.set_issued_ms(body.issued_ms() ^ 1);
  const auto replaced = believer.trust.take(signed_by_root(other.SerializeAsString()), kNow);
  claim(!replaced || !replaced->is_new, "the same number with other bytes is not taken (G4)");
}

}  // namespace

void one_input(ByteView bytes) {
  Input in(bytes);
  const std::uint8_t how = in.u8();
  Believer believer;
  if ((how & kByRoot) == 0) {
    wire::pb::Signed strange;
    if (!strange.ParseFromString(to_string(in.rest()))) return;
    claim(!believer.trust.take(strange, kNow), "nobody but the group is believed");
    claim(believer.saved == 0 && !believer.trust.newest_tick(), "and nothing is kept of it");
    return;
  }
  for (std::size_t i = 0; i < kDocumentsMax && !in.empty(); ++i) {
    const ByteView piece = in.piece();
    const auto document =
        signed_by_root((how & kAnyGroup) != 0 ? to_string(piece) : of_this_group(piece));
    const auto taken = believer.trust.take(document, kNow);
    if (taken)
      check_believed(believer, document, taken->body);
    else
      claim(!taken.error().message.empty(), "a refusal has words");
  }
  for (const wire::pb::Signed& document : believer.trust.for_children())
    claim(Believer().trust.take(document, kNow).has_value(), "children can believe what we do");
}

std::vector<Bytes> seeds() {
  const NodeId node = PrivateKey::generate().node_id();
  wire::pb::Delegation delegation;
  delegation.set_number(kNumber);
  delegation.set_public_key(node::field_of(PrivateKey::generate().public_key().spki()));
  for (const std::uint32_t scope : {1u, 2u, 3u}) delegation.add_scopes(scope);
  wire::pb::Approval approval;
  approval.set_node_id(node::field_of(node.bytes));
  wire::pb::DenyList deny;
  deny.add_entries()->set_node_id(node::field_of(node.bytes));
  wire::pb::Tick tick;
  tick.set_time_ms(to_ms(kNow));
  tick.set_generation(1);
  tick.add_numbers()->set_type(static_cast<std::uint32_t>(node::DocumentType::deny));

  const auto body = [](node::DocumentType type, const std::string& payload) {
    wire::pb::DocumentBody body;
    body.set_version(1);
    body.set_type(static_cast<std::uint32_t>(type));
    body.set_number(kNumber);
    body.set_generation(1);
    body.set_issued_ms(to_ms(kNow));
    body.set_expires_ms(to_ms(kNow) + 1000);
    body.set_payload(payload);
    return body;
  };
  wire::pb::DocumentBody for_one = body(node::DocumentType::approval, approval.SerializeAsString());
  for_one.set_audience(approval.node_id());
  std::vector<Bytes> seeds;
  for (const wire::pb::DocumentBody& one :
       {body(node::DocumentType::delegation, delegation.SerializeAsString()), for_one,
        body(node::DocumentType::deny, deny.SerializeAsString()),
        body(node::DocumentType::tick, tick.SerializeAsString())}) {
    const std::string text = one.SerializeAsString();
    const auto taken = Believer().trust.take(signed_by_root(of_this_group(as_bytes(text))), kNow);
    claim(taken && taken->is_new, "a seed is believed, so what follows that is reached");
    Writer own, strange;
    own.u8(kByRoot);
    put_piece(own, as_bytes(text));
    put_piece(own, as_bytes(text));
    strange.u8(0).bytes(as_bytes(
        node::sign(PrivateKey::generate(), node::kDocumentContext, of_this_group(as_bytes(text)))
            .SerializeAsString()));
    seeds.push_back(own.take());
    seeds.push_back(strange.take());
  }
  return seeds;
}

}  // namespace postern::fuzz
