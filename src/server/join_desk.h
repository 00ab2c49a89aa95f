#pragma once

#include <string>
#include <vector>

#include "base/token_buckets.h"
#include "node/join.h"
#include "server/group.h"
#include "server/registry.h"

namespace postern {

/// Answers machines that come with a token (docs/formats/join.md): holds the request against the
/// token, counts its use, lets the registry decide, signs certificate and answer. Blocking; belongs
/// to the store thread.
class JoinDesk {
 public:
  JoinDesk(store::Store& store, Registry& registry, GroupFolder& folder, const Clock& clock,
           Random& random, const Log& log)
      : store_(store),
        registry_(registry),
        folder_(folder),
        clock_(clock),
        random_(random),
        log_(log) {}

  /// Where a request came from, as the hops tell.
  struct From {
    std::string address;
    std::vector<std::string> path;  // names, from the one it asked up to us
  };
  /// What the answer needs of this server.
  struct Group {
    std::string name;
    PublicKey root;
    std::vector<wire::pb::Signed> delegations;
    Anchors anchors;
    std::chrono::seconds lifetime;  // of certificates
  };
  struct Answered {
    std::optional<std::string> answer;  // a JoinAnswer; nothing: the request cannot be read
    std::string name;                   // who may have joined, or waits
  };
  /// Documents that follow are among the registry's take_documents().
  Answered answer(std::string_view request, const From& from, const Group& group);

 private:
  struct No {
    node::JoinReason reason;
    std::string words;
    std::chrono::milliseconds retry_after{};
    std::int64_t number = 0;
  };
  struct Yes {
    bool approved = false;
    std::vector<Certificate> chain;
  };
  std::expected<Yes, No> decide(const node::JoinAsk& ask, const From& from, const Group& group);
  std::optional<No> against(const store::JoinToken& token, const node::JoinAsk& ask);
  void note_refusal(const node::JoinAsk& ask, const From& from, const No& no);

  store::Store& store_;
  Registry& registry_;
  GroupFolder& folder_;
  const Clock& clock_;
  Random& random_;
  const Log& log_;
  /// Refusals in the audit list, by token: who has one must not fill the list.
  TokenBuckets noted_{{1.0 / 60, 20, store::kJoinTokensMax}};
};

}  // namespace postern
