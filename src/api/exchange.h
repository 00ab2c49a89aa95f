#pragma once

#include <boost/json.hpp>

#include <map>
#include <string>

#include "api/json.h"
#include "api/service.h"
#include "net/http.h"

/// What the handlers of the router share. Not for other folders.
namespace postern::api {

/// One request on its way through a handler.
struct Exchange {
  const HttpRequest& request;
  const Caller& caller;
  Service& service;
  std::string node;  // what stood for {node} in the path: a normal name or a node id
  std::string id;    // likewise for {id}, as it was sent
  std::map<std::string, std::string, std::less<>> query;  // only parameters that the route names
};

struct Reply {
  int status = 200;
  boost::json::value json;
  std::string text;  // sent instead of `json` when text_type is set
  std::string text_type;
  std::string location;                                    // of what was created
  std::function<void(std::shared_ptr<HttpStream>)> go_on;  // the text is only the beginning
};

using Handler = Answer<Reply> (*)(Exchange&);

/// A part of a list: the parameters `limit` and `cursor` of a request, `next` of its answer.
struct Page {
  std::size_t limit = 0;
  std::string after;  // what next_page() was given for the last item of the page before; "": first
};
Answer<Page> page_of(const Exchange& exchange, std::size_t otherwise, std::size_t max);
/// `items` may have one more than the page takes: it is cut, and the answer says how to go on
/// behind the last one, whose place `place` tells.
template <typename T, typename Place>
boost::json::object page_to_json(std::vector<T> items, const Page& page, Place place);
/// The member `next` for a page that ended at this place.
std::string next_page(std::string_view place);

/// true or false; nothing when it is not given.
Answer<std::optional<bool>> flag_of(const Exchange& exchange, std::string_view name);

inline std::unexpected<ApiError> refuse(std::string_view type, std::string detail) {
  return std::unexpected(problem(type, std::move(detail)));
}

/// Reads the members of a JSON object strictly: the first thing that is wrong is kept, with the
/// member's name, and done() also objects to members that nobody asked for.
class Members {
 public:
  /// The body of a request: an object of at most kBodyBytesMax bytes and kJsonDepthMax levels.
  static Answer<Members> of_body(const HttpRequest& request);

  std::string required_text(std::string_view name, std::size_t bytes_max);
  std::string optional_text(std::string_view name, std::size_t bytes_max);
  std::optional<std::uint32_t> optional_count(std::string_view name, std::uint32_t min,
                                              std::uint32_t max);
  bool optional_flag(std::string_view name);
  std::vector<std::string> optional_texts(std::string_view name, std::size_t count_max,
                                          std::size_t bytes_max);
  /// A normal FQDN, see normal_fqdn().
  std::string required_fqdn(std::string_view name);
  /// Distinct normal FQDNs, at least `min` and at most kParentsMax.
  std::vector<std::string> fqdns(std::string_view name, std::size_t min);
  void object_to(std::string detail);  // for what a handler checks itself
  Answer<void> done();

 private:
  explicit Members(boost::json::object object) : object_(std::move(object)) {}
  std::optional<boost::json::value> take(std::string_view name);
  std::string fqdn(std::string_view member, const std::string& text);
  boost::json::object object_;
  std::vector<std::string> known_;
  std::optional<ApiError> wrong_;
};

template <typename T, typename Place>
boost::json::object page_to_json(std::vector<T> items, const Page& page, Place place) {
  const bool more = items.size() > page.limit;
  if (more) items.resize(page.limit);
  boost::json::object out = list_to_json(items);
  out["next"] = more ? boost::json::value(next_page(place(items.back()))) : nullptr;
  return out;
}

// paging.cc, approvals.cc
Answer<Reply> approve_gateway(Exchange& exchange);
Answer<Reply> approve_agent(Exchange& exchange);
Answer<Reply> remove_gateway(Exchange& exchange);
Answer<Reply> remove_agent(Exchange& exchange);
Answer<Reply> list_pending(Exchange& exchange);
Answer<Reply> show_pending(Exchange& exchange);
Answer<Reply> show_approval(Exchange& exchange);
Answer<Reply> approve_pending(Exchange& exchange);
Answer<Reply> reject_pending(Exchange& exchange);
// views.cc
Answer<Reply> list_gateways(Exchange& exchange);
Answer<Reply> list_agents(Exchange& exchange);
Answer<Reply> show_gateway(Exchange& exchange);
Answer<Reply> show_agent(Exchange& exchange);
Answer<Reply> list_nodes(Exchange& exchange);
Answer<Reply> show_node(Exchange& exchange);
Answer<Reply> list_certificates(Exchange& exchange);
Answer<Reply> allow_renewal(Exchange& exchange);
Answer<Reply> show_topology(Exchange& exchange);
Answer<Reply> list_servers(Exchange& exchange);
Answer<Reply> show_server(Exchange& exchange);
Answer<Reply> list_audit(Exchange& exchange);
// observations.cc
Answer<Reply> list_entities(Exchange& exchange);
Answer<Reply> list_series(Exchange& exchange);
Answer<Reply> list_events(Exchange& exchange);
// ledger.cc
Answer<Reply> list_losses(Exchange& exchange);
Answer<Reply> list_alerts(Exchange& exchange);
Answer<Reply> show_alert(Exchange& exchange);
Answer<Reply> close_alert(Exchange& exchange);
Answer<Reply> start_trace(Exchange& exchange);
Answer<Reply> show_trace(Exchange& exchange);
// group.cc
Answer<Reply> show_group(Exchange& exchange);
Answer<Reply> export_group(Exchange& exchange);
Answer<Reply> show_description(Exchange& exchange);
Answer<Reply> sign_certificate(Exchange& exchange);
Answer<Reply> revoke_certificate(Exchange& exchange);
Answer<Reply> list_revocations(Exchange& exchange);
Answer<Reply> show_authority(Exchange& exchange);
Answer<Reply> roll_authority(Exchange& exchange);
Answer<Reply> switch_authority(Exchange& exchange);
Answer<Reply> finish_authority(Exchange& exchange);
// changes.cc
Answer<Reply> listen_to_changes(Exchange& exchange);
// join_tokens.cc
Answer<Reply> list_join_tokens(Exchange& exchange);
Answer<Reply> create_join_token(Exchange& exchange);
Answer<Reply> revoke_join_token(Exchange& exchange);
// tokens.cc
Answer<Reply> list_tokens(Exchange& exchange);
Answer<Reply> create_token(Exchange& exchange);
Answer<Reply> revoke_token(Exchange& exchange);

}  // namespace postern::api
