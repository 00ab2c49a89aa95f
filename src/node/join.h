#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/random.h"
#include "identity/check.h"
#include "node/join_token.h"
#include "node/strangers.h"
#include "wire/channel.pb.h"

/// Joining by token (docs/formats/join.md): what the one who asks and the one who answers decide.
namespace postern::node {

inline constexpr std::uint32_t kJoinRequest = 6;  // channel.md#W50
inline constexpr std::size_t kJoinBytesMax = kStrangersBytesMax;
inline constexpr std::size_t kJoinAnswerBytesMax = 256u << 10;

enum class JoinOutcome : std::uint32_t { approved = 1, pending = 2, refused = 3 };
enum class JoinReason : std::uint32_t {
  unknown = 1,
  revoked,
  expired,
  used_up,
  wrong_name,
  wrong_role,
  bad_request,
  clash,
  denied,
  replayed,
  busy,
};
const char* to_string(JoinReason reason);

/// The machine's side: asks, and believes an answer only for what the token pins. Decides only: who
/// owns it has the network and the disk.
class Joining {
 public:
  struct Machine {
    std::string name;
    Role role = Role::agent;
    const PrivateKey& identity;
    TlsKey tls_key;
  };
  /// `invalid` when a request for this name cannot be made.
  static Result<Joining> create(JoinToken token, Machine machine);

  /// The body of the next request; each has a number of its own.
  std::string ask(WallTime now, Random& random);

  struct Member {
    bool approved = false;  // false: a member once an administrator approves it
    TlsCredential credential;
    Anchors anchors;
    PublicKey root;
    std::chrono::milliseconds ahead{};  // the server's clock less ours
  };
  struct Refused {
    JoinReason reason = JoinReason::busy;
    std::string words;
    std::chrono::milliseconds retry_after{};  // 0: asking again helps only after somebody acts
  };
  /// What the answer to the last ask says, if the management group gave it; an error is no answer:
  /// somebody on the way made it up, or it is to another request.
  Result<std::variant<Member, Refused>> on_answer(std::string_view answer, WallTime now);

  const JoinToken& token() const { return token_; }

 private:
  Joining(JoinToken token, Machine machine, PrivateKey token_key, std::string csr)
      : token_(std::move(token)),
        machine_(std::move(machine)),
        token_key_(std::move(token_key)),
        csr_(std::move(csr)) {}
  Result<wire::pb::JoinReply> believed(const wire::pb::JoinAnswer& answer, const PublicKey& root,
                                       WallTime now) const;
  Result<Member> member(const wire::pb::JoinReply& reply, const PublicKey& root,
                        WallTime now) const;

  JoinToken token_;
  Machine machine_;
  PrivateKey token_key_;
  std::string csr_;
  Digest asked_{};
  std::int64_t number_ = 0;
};

/// A request whose identity key has signed it. The token's signature is verified when its key is
/// known: signed_by().
struct JoinAsk {
  std::string token_id;
  PublicKey identity;
  std::string csr, name;
  Role role = Role::agent;
  std::int64_t number = 0;
  Digest sha256{};

  bool signed_by(const PublicKey& token_key) const;

  std::string bytes;
  Signature token_signature{};
};
Result<JoinAsk> read_join_request(std::string_view body);

/// The bytes that travel back, signed with a delegated key.
std::string join_answer(const wire::pb::JoinReply& reply, const PublicKey& root,
                        const std::vector<wire::pb::Signed>& delegations, const PrivateKey& key,
                        std::uint64_t key_number);

}  // namespace postern::node
