// Who asks over HTTP, and the answer.

#include "api/caller.h"
#include "api/router.h"
#include "api/token.h"
#include "model/measures.h"
#include "node/status.h"
#include "server/server.h"

namespace postern {
namespace {

constexpr std::string_view kApi = "/api/";

bool allowed(const std::vector<AddressRange>& ranges, const std::string& address) {
  return std::ranges::any_of(ranges,
                             [&](const AddressRange& range) { return range.contains(address); });
}

}  // namespace

void Server::api(HttpRequest request, const api::Caller& caller, Respond respond) {
  answer(
      std::move(request), [caller] { return caller; }, std::move(respond));
}

/// Over the one port: /livez for everybody, the rest by token, and only from where it is allowed
/// (rule C6). What is refused for its address is refused before the token is looked at.
void Server::on_http(HttpRequest request, Respond respond) {
  if (node::is_for_strangers(request.target))
    return on_stranger(std::move(request), std::move(respond));
  const bool api = request.target.starts_with(kApi);
  const node::Status status{[this] { return not_ready(); }, [this] { return own_health(); }};
  const bool from_here = allowed(settings_.api_from, request.address);
  const bool has_token = request.header("authorization").has_value();
  if (!api && (request.target == "/livez" || !from_here || request.loopback || !has_token))
    return respond(node::status_page(request, request.loopback, status));
  if (!from_here)
    return respond(api::response_of(api::problem(
        api::kProblemDenied,
        fmt::format("{} may not use the API; the addresses that may stand in server.yaml, api_from",
                    node::source_of(request)))));
  if (over_rate(node::source_of(request), respond)) return;
  if (api) {
    auto who = token_of(request);
    return answer(std::move(request), std::move(who), std::move(respond));
  }
  // /readyz and /metrics for a token of any scope.
  store_thread_->post([this, alive = alive_, who = token_of(request), request, status,
                       respond = std::move(respond)]() mutable {
    core_.post([alive, known = who().has_value(), request = std::move(request), status,
                respond = std::move(respond)] {
      if (*alive) respond(node::status_page(request, known, status));
    });
  });
}

Server::WhoAsks Server::token_of(const HttpRequest& request) {
  return
      [this, token = std::string(api::bearer_token(request.header("authorization").value_or("")))] {
        return service_->caller_of_token(token);
      };
}

bool Server::over_rate(const std::string& who, const Respond& respond) {
  const Duration wait = api_rate_.take(who, core_.now());
  if (wait == Duration::zero()) return false;
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait).count();
  HttpResponse response = api::response_of(
      api::problem(api::kProblemExhausted,
                   fmt::format("more than {} requests a second come from {}; ask again in {} s",
                               kApiRate, who, seconds)));
  response.headers.emplace_back("Retry-After", std::to_string(seconds));
  respond(std::move(response));
  return true;
}

void Server::answer(HttpRequest request, WhoAsks caller, Respond respond) {
  store_thread_->post([this, alive = alive_, request = std::move(request),
                       caller = std::move(caller), respond = std::move(respond)]() mutable {
    const auto who = caller();
    HttpResponse response =
        who ? api::handle(request, *who, *service_) : api::response_of(who.error());
    auto documents = registry_->take_documents();
    auto closed = closed_streams();
    auto questions = service_->take_questions();
    auto changes = service_->take_changes();
    core_.post([this, alive, response = std::move(response), respond = std::move(respond),
                documents = std::move(documents), closed = std::move(closed),
                questions = std::move(questions), changes = std::move(changes)]() mutable {
      if (!*alive) return;
      for (const Question& question : questions)
        send_down(question.target, question.kind, question.body);
      // First what was decided, then the word that it was: "removed" is true when it is said.
      spread(std::move(documents));
      on_ingested(std::move(closed));
      for (auto& [kind, subject] : changes) changed(std::move(kind), std::move(subject));
      respond(std::move(response));
    });
  });
}

void Server::listen_to_changes(std::shared_ptr<HttpStream> stream, const api::ChangeQuery& query) {
  if (changes_.full()) return;  // it ends, and the client asks again
  changes_.listen(std::move(stream), query.kinds, query.last_id);
  if (!listeners_timer_.running())
    listeners_timer_ = core_.after(kListenersToldEvery, [this] { tell_listeners(); });
}

void Server::tell_listeners() {
  changes_.say_alive();
  if (changes_.listeners() != 0)
    listeners_timer_ = core_.after(kListenersToldEvery, [this] { tell_listeners(); });
}

/// Nothing is kept before the first listener came: whoever was never there has missed nothing.
void Server::changed(std::string kind, std::string subject) {
  if (!changes_.was_asked()) return;
  changes_.note(std::move(kind), std::move(subject));
  if (!changes_timer_.running())
    changes_timer_ = core_.after(kChangesEvery, [this] { changes_.flush(); });
}

std::string Server::not_ready() const {
  return store_answers_ ? "" : "the store does not answer; the log says why";
}

std::vector<Measurement> Server::own_health() {
  const WallTime now = around_.clock.wall();
  Measures m(now, started_);
  m.gauge("postern.ready", "1", not_ready().empty() ? 1 : 0,
          "1 while this node delivers, as /readyz says.");
  m.gauge("postern.certificate.not_after", "s",
          to_ms(tls_->credential()->chain.front().not_after()) / 1000,
          "When the certificate in use ends, in seconds since 1970.");
  m.gauge("postern.server.children", "{node}", children_->size(),
          "Agents and gateways that are attached to this server.");
  m.counter("postern.server.batches.applied", "{batch}", applied_,
            "Batches whose effect was committed.");
  m.counter("postern.server.batches.duplicate", "{batch}", duplicates_,
            "Batches that came again and changed nothing.");
  m.counter("postern.server.refused", "{connection}", children_->refused(),
            "Peers that were refused, before or after their certificate was seen.");
  m.gauge("postern.server.batches.waiting", "{batch}", arrived_.size(),
          "Batches that wait for the store.");
  m.gauge("postern.server.generation", "1", generation_,
          "Rises when the store was restored or lost commits.");
  m.gauge("postern.server.losses.open", "{hole}", health_.losses_open,
          "Holes in streams that nobody has explained yet.");
  m.gauge("postern.server.alerts.open", "{alert}", health_.alerts_open, "Open alerts.");
  m.counter("postern.server.equivocations", "{batch}", health_.equivocations,
            "Batches that contradict one that is known.");
  m.counter("postern.server.sightings.ignored", "{message}", sightings_ignored_,
            "Heads and words about nodes that changed nothing.");
  m.counter("postern.server.sightings.dropped", "{message}", sightings_.dropped(),
            "Heads and words about nodes that found no room.");
  m.gauge("postern.server.listeners", "{connection}", changes_.listeners(),
          "Clients that listen to changes.");
  m.append(node::port_health(children_.get(), now, started_));
  if (sampler_) m.append(sampler_->own_health());
  return m.take();
}

}  // namespace postern
