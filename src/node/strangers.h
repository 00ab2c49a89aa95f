#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/node_id.h"
#include "base/token_buckets.h"
#include "net/http.h"

/// Machines without a certificate that is good: those that join by token (docs/formats/join.md) and
/// those whose certificate has ended (channel.md#W58). They ask over HTTP.
namespace postern::node {

inline constexpr const char* kJoinPath = "/join";
inline constexpr const char* kRenewPath = "/renew";
inline constexpr std::size_t kStrangersBytesMax = 16u << 10;  // of one request: join.md#J11

bool is_for_strangers(std::string_view target);

/// Who asks over HTTP, without the port: one machine is one source.
std::string source_of(const HttpRequest& request);

/// What somebody unknown has said, fit for a log and a terminal.
std::string harmless(std::string_view words);

/// What a stranger is answered: the group's word, or ours (503) when there is none.
HttpResponse stranger_response(const std::optional<std::string>& answer,
                               const std::string& own_words,
                               Duration retry_after = std::chrono::seconds(5));

/// Who may come, and how often (join.md#J12). Decides only; one owner.
class StrangerGate {
 public:
  /// What is wrong with the request, or that it comes too soon; nothing for one to pass on.
  /// `whose`: "gateway", for the words.
  std::optional<HttpResponse> turn_away(const HttpRequest& request, std::string_view whose,
                                        TimePoint now);
  /// Whether a child may pass one on now.
  bool takes_from(const NodeId& child, TimePoint now) {
    return children_.take(child.hex(), now) == Duration::zero();
  }

 private:
  TokenBuckets strangers_{{2, 5, 4096}};
  TokenBuckets all_{{20, 100, 1}};
  TokenBuckets children_{{20, 100, 4096}};
};

}  // namespace postern::node
