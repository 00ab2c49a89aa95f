#include "node/status.h"

#include "model/measures.h"
#include "model/prometheus.h"

namespace postern::node {

std::vector<Measurement> port_health(const Children* children, WallTime now, WallTime start) {
  const PortCounters port = children != nullptr ? children->counters() : PortCounters{};
  Measures m(now, start);
  m.counter("postern.port.accepted", "{connection}", port.accepted, "Connections accepted.");
  m.counter("postern.port.authenticated", "{connection}", port.authenticated,
            "Connections of approved nodes.");
  m.counter("postern.port.refused", "{connection}", children != nullptr ? children->refused() : 0,
            "Peers that were refused, before or after their certificate was seen.");
  m.counter("postern.port.garbage", "{connection}", port.garbage + port.not_tls,
            "Connections that sent what is no TLS, or no frame.");
  m.counter("postern.port.rate_limited", "{connection}", port.rate_limited,
            "Connections closed because their source made too many.");
  m.counter("postern.port.evicted", "{connection}", port.evicted,
            "Unauthenticated connections closed to make room for newer ones.");
  m.counter("postern.port.full", "{connection}", port.full,
            "Connections closed because no descriptor was to spare.");
  m.counter("postern.port.handshakes.failed", "{connection}",
            port.handshakes_failed + port.half_handshake + port.no_protocol,
            "TLS handshakes that did not end well.");
  m.counter("postern.port.http.requests", "{request}", port.http_requests, "HTTP requests.");
  m.gauge("postern.port.unauthenticated", "{connection}", port.unauthenticated_now,
          "Connections that have not authenticated yet.");
  return m.take();
}

HttpResponse status_page(const HttpRequest& request, bool trusted, const Status& status) {
  HttpResponse response;
  const std::string_view path =
      std::string_view(request.target).substr(0, request.target.find('?'));
  const bool known = path == "/livez" || (trusted && (path == "/readyz" || path == "/metrics"));
  if (request.method != "GET" && request.method != "HEAD") {
    response.status = 405;
    response.headers.emplace_back("Allow", "GET, HEAD");
    response.body = "only GET\n";
  } else if (!known) {
    response.status = 404;
    response.body = "not here\n";
  } else if (path == "/livez") {
    response.body = "alive\n";
  } else if (path == "/readyz") {
    const std::string reason = status.not_ready();
    response.status = reason.empty() ? 200 : 503;
    response.body = (reason.empty() ? "ready" : reason) + "\n";
  } else {
    response.content_type = kPrometheusContentType;
    response.body = prometheus_text(status.health());
  }
  return response;
}

Result<std::unique_ptr<UnixHttpServer>> listen_for_status(const Surroundings& around,
                                                          const std::filesystem::path& state_dir,
                                                          Status status) {
  return UnixHttpServer::listen(
      around.loops.core(), around.log, state_dir / "status.sock",
      [status = std::move(status)](const HttpRequest& request, const Respond& respond) {
        respond(status_page(request, true, status));
      });
}

}  // namespace postern::node
