#include <fmt/format.h>

#include <algorithm>

#include "api/exchange.h"

namespace postern::api {

Answer<Reply> listen_to_changes(Exchange& exchange) {
  ChangeQuery query;
  if (const auto found = exchange.query.find("kinds"); found != exchange.query.end())
    for (std::string_view left = found->second; !left.empty();) {
      const auto kind = left.substr(0, left.find(','));
      left.remove_prefix(std::min(kind.size() + 1, left.size()));
      if (std::ranges::find(kChangeKinds, kind) == std::end(kChangeKinds))
        return refuse(kProblemInvalid,
                      fmt::format("there are no changes of the kind '{}'; there are: {}", kind,
                                  fmt::join(kChangeKinds, ", ")));
      query.kinds.emplace(kind);
    }
  query.last_id = exchange.request.header("last-event-id").value_or("");
  auto go_on = exchange.service.changes(query);
  if (!go_on) return std::unexpected(go_on.error());
  Reply reply;
  reply.text = "retry: 2000\n\n";
  reply.text_type = "text/event-stream";
  reply.go_on = std::move(*go_on);
  return reply;
}

}  // namespace postern::api
