#include "api/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "api/caller.h"
#include "api/fake_service.h"
#include "api/token.h"

namespace postern::api {
namespace {

namespace json = boost::json;
using testing::HasSubstr;

const Caller kAdministrator{0, 0, "root", Scope::administrate};
const Caller kReader{1000, 1000, "ada", Scope::read_only};

class Router : public testing::Test {
 protected:
  HttpResponse ask(std::string method, std::string target, std::string body = {},
                   const Caller& caller = kAdministrator) {
    HttpRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.body = std::move(body);
    if (!request.body.empty())
      request.headers.emplace_back("content-type", "application/json; charset=utf-8");
    return handle(request, caller, service_);
  }
  static json::object object(const HttpResponse& response) {
    return json::parse(response.body).as_object();
  }
  static std::string detail(const HttpResponse& response) {
    return std::string(object(response).at("detail").as_string());
  }
  static std::string header(const HttpResponse& response, std::string_view name) {
    for (const auto& [key, value] : response.headers)
      if (key == name) return value;
    return {};
  }
  FakeService service_;
};

TEST_F(Router, AnApprovedGatewayIsInTheInventoryAsNeverConnected) {
  const auto response = ask("POST", "/api/v1/gateways",
                            R"({"name":"GW1.dmz.example","parents":["ms1.home.example"]})");
  EXPECT_EQ(response.status, 201u);
  EXPECT_EQ(header(response, "Location"), "/api/v1/gateways/gw1.dmz.example");
  EXPECT_FALSE(object(response).at("already_approved").as_bool());

  const auto nodes = object(ask("GET", "/api/v1/nodes?role=gateway")).at("items").as_array();
  ASSERT_EQ(nodes.size(), 1u);
  EXPECT_EQ(nodes[0].at("name").as_string(), "gw1.dmz.example");
  EXPECT_EQ(nodes[0].at("connection").as_string(), "never connected");
  EXPECT_TRUE(nodes[0].at("last_seen").is_null());
}

TEST_F(Router, ApprovingTwiceDoesNoHarmAndSaysSo) {
  const char* body = R"({"name":"gw1.dmz.example","parents":["ms1.home.example"]})";
  ask("POST", "/api/v1/gateways", body);
  const auto response = ask("POST", "/api/v1/gateways", body);
  EXPECT_EQ(response.status, 200u);
  EXPECT_TRUE(object(response).at("already_approved").as_bool());
}

TEST_F(Router, RemovingEndsTheRegistrationAndASecondTimeItIsNotFound) {
  ask("POST", "/api/v1/agents", R"({"name":"a1.dmz.example"})");
  EXPECT_EQ(ask("DELETE", "/api/v1/gateways/a1.dmz.example").status, 404u);
  EXPECT_EQ(ask("DELETE", "/api/v1/agents/a1.dmz.example").status, 200u);
  EXPECT_EQ(ask("DELETE", "/api/v1/agents/a1.dmz.example").status, 404u);
}

TEST_F(Router, OnlyAdministratorsChangeThingsAndOthersMayRead) {
  const auto response = ask("POST", "/api/v1/agents", R"({"name":"a1.dmz.example"})", kReader);
  EXPECT_EQ(response.status, 403u);
  EXPECT_THAT(detail(response), HasSubstr("postern-admin"));
  EXPECT_EQ(ask("DELETE", "/api/v1/agents/a1.dmz.example", {}, kReader).status, 403u);
  EXPECT_EQ(ask("POST", "/api/v1/pending/a1.dmz.example/approve", {}, kReader).status, 403u);
  EXPECT_EQ(ask("POST", "/api/v1/certificates", R"({"csr":"x"})", kReader).status, 403u);
  EXPECT_EQ(ask("GET", "/api/v1/nodes", {}, kReader).status, 200u);
  EXPECT_TRUE(service_.audit_log.empty());
}

TEST_F(Router, RefusalsAreProblems) {
  const auto response = ask("GET", "/api/v1/nodes/nobody.example.org");
  EXPECT_EQ(response.status, 404u);
  EXPECT_EQ(response.content_type, "application/problem+json");
  const auto problem = object(response);
  EXPECT_EQ(problem.at("type").as_string(), "urn:postern:problem:not-found");
  EXPECT_EQ(problem.at("status").as_int64(), 404);
  EXPECT_EQ(problem.at("title").as_string(), "Not found");
  EXPECT_THAT(detail(response), HasSubstr("nobody.example.org"));
}

TEST_F(Router, EveryErrorCodeHasItsStatus) {
  const std::pair<Errc, int> expected[] = {{Errc::invalid, 422},
                                           {Errc::denied, 403},
                                           {Errc::unavailable, 503},
                                           {Errc::exhausted, 429},
                                           {Errc::corrupt, 500}};
  for (const auto& [code, status] : expected) {
    service_.broken = problem_of({code, "because"});
    const auto response = ask("GET", "/api/v1/topology");
    EXPECT_EQ(response.status, static_cast<unsigned>(status));
    EXPECT_EQ(detail(response), "because");
  }
}

TEST_F(Router, AnUnknownPathIsNotFoundAndAnUnknownMethodNamesTheAllowedOnes) {
  for (const char* path : {"/", "/api", "/api/v1", "/api/v1/", "/api/v1/nodes/", "/api/v2/nodes",
                           "/api/v1/nodes/a.b/c", "/api/v1/nodesx", "//api/v1/nodes", ""})
    EXPECT_EQ(ask("GET", path).status, 404u) << path;
  const auto response = ask("PUT", "/api/v1/gateways");
  EXPECT_EQ(response.status, 405u);
  EXPECT_EQ(header(response, "Allow"), "GET, POST");
}

TEST_F(Router, MalformedAddressesAreRefused) {
  for (const char* target : {"/api/v1/nodes/%zz",
                             "/api/v1/nodes/%4",
                             "/api/v1/nodes/%",
                             "/api/v1/nodes/a%00.example",
                             "/api/v1/nodes/a%2fb.example",
                             "/api/v1/nodes/single",
                             "/api/v1/nodes?role=king",
                             "/api/v1/nodes?colour=red",
                             "/api/v1/nodes?role=agent&role=agent",
                             "/api/v1/nodes?ro%le=1",
                             "/api/v1/topology?x=1",
                             "/api/v1/audit?limit=0",
                             "/api/v1/audit?limit=1001",
                             "/api/v1/audit?limit=10x",
                             "/api/v1/audit?limit=",
                             "/api/v1/losses?limit=10001",
                             "/api/v1/losses?node=single",
                             "/api/v1/losses?since=yesterday",
                             "/api/v1/losses?since=2026-01-31",
                             "/api/v1/losses?nod=a.example",
                             "/api/v1/losses?node,%20since=x",
                             "/api/v1/losses?=x",
                             "/api/v1/nodes/a.example/series?limit=10001",
                             "/api/v1/nodes/a.example/series?until=now",
                             "/api/v1/nodes/a.example/series?severity=info",
                             "/api/v1/nodes/a.example/events?severity=bad",
                             "/api/v1/nodes/a.example/events?since=",
                             "/api/v1/alerts?open=1",
                             "/api/v1/alerts/x",
                             "/api/v1/alerts/0",
                             "/api/v1/alerts/-1",
                             "/api/v1/alerts/1x",
                             "/api/v1/alerts/99999999999999999999",
                             "/api/v1/traces/1",
                             "/api/v1/traces/zz112233445566778899aabbccddeeff"})
    EXPECT_EQ(ask("GET", target).status, 400u) << target;
  EXPECT_EQ(ask("GET", "/api/v1/nodes/" + std::string(kTargetBytesMax, 'a')).status, 400u);
}

TEST_F(Router, AnAnswerIsUtf8WhateverItQuotes) {
  LossView loss;
  loss.reason = "lost by \xff\xfe";  // a hop's words
  service_.loss_list = {loss};
  json::error_code failed;
  json::parse(ask("GET", "/api/v1/losses").body, failed);
  EXPECT_FALSE(failed);
  json::parse(ask("GET", "/api/v1/\xff").body, failed);
  EXPECT_FALSE(failed);
}

TEST_F(Router, ANodeIsFoundByNameInAnyCaseAndById) {
  service_.nodes[0].id = "00112233445566778899aabbccddeeff";
  EXPECT_EQ(ask("GET", "/api/v1/nodes/MS1.home.example").status, 200u);
  EXPECT_EQ(ask("GET", "/api/v1/nodes/ms1%2Ehome.example").status, 200u);
  EXPECT_EQ(ask("GET", "/api/v1/nodes/00112233445566778899AABBCCDDEEFF").status, 200u);
  EXPECT_EQ(ask("GET", "/api/v1/gateways/ms1.home.example").status, 404u);
}

TEST_F(Router, AnUnknownMemberIsRefusedByItsName) {
  const auto response =
      ask("POST", "/api/v1/agents", R"({"name":"a1.dmz.example","colour":"red"})");
  EXPECT_EQ(response.status, 422u);
  EXPECT_THAT(detail(response), HasSubstr("'colour'"));
  EXPECT_EQ(ask("POST", "/api/v1/agents", R"({"name":"a1.dmz.example","colour":null})").status,
            422u);
  EXPECT_EQ(ask("POST", "/api/v1/agents", R"({"name":"a1.dmz.example","parents":null})").status,
            201u);
}

TEST_F(Router, EachImpossibleWishNamesTheMember) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({})", "'name'"},
      {R"({"name":7})", "'name'"},
      {R"({"name":"gw1","parents":["ms1.home.example"]})", "'name'"},
      {R"({"name":"10.0.0.1","parents":["ms1.home.example"]})", "'name'"},
      {R"({"name":"gw1.dmz.example"})", "'parents'"},
      {R"({"name":"gw1.dmz.example","parents":[]})", "'parents'"},
      {R"({"name":"gw1.dmz.example","parents":"ms1.home.example"})", "'parents'"},
      {R"({"name":"gw1.dmz.example","parents":[1]})", "'parents'"},
      {R"({"name":"gw1.dmz.example","parents":["ms1.home.example","MS1.home.example"]})", "twice"},
      {R"({"name":"gw1.dmz.example","parents":["gw1.dmz.example"]})", "its own parent"},
      {R"({"name":"gw1.dmz.example","parents":["ms1.home.example"],"direction":"up"})",
       "'direction'"},
      {R"({"name":"gw1.dmz.example","parents":["ms1.home.example"],"site":1})", "'site'"},
  };
  for (const auto& [body, words] : cases) {
    const auto response = ask("POST", "/api/v1/gateways", body);
    EXPECT_EQ(response.status, 422u) << body;
    EXPECT_THAT(detail(response), HasSubstr(words)) << body;
  }
  EXPECT_TRUE(service_.audit_log.empty());
}

TEST_F(Router, BodiesThatAreNotAJsonObjectAreRefused) {
  for (const char* body : {"[]", "7", "{", "{\"name\":}", "{} {}", "\xff\xfe", "{\"a\":1,}"})
    EXPECT_EQ(ask("POST", "/api/v1/agents", body).status, 400u) << body;
  std::string deep = "{\"name\":";
  for (std::size_t i = 0; i < kJsonDepthMax + 1; ++i) deep += '[';
  EXPECT_EQ(ask("POST", "/api/v1/agents", deep).status, 400u);
  EXPECT_EQ(ask("POST", "/api/v1/agents", std::string(kBodyBytesMax + 1, ' ')).status, 413u);
  EXPECT_EQ(ask("POST", "/api/v1/agents").status, 415u) << "no body, no content type";
  EXPECT_EQ(ask("POST", "/api/v1/pending/a1.dmz.example/approve", "{}").status, 400u);

  HttpRequest form;
  form.method = "POST";
  form.target = "/api/v1/agents";
  form.headers = {{"content-type", "text/plain"}};
  form.body = "{}";
  EXPECT_EQ(handle(form, kAdministrator, service_).status, 415u);
}

TEST_F(Router, EveryPrefixOfARequestIsAnsweredAndNoneChangesAnything) {
  const std::string body = R"({"name":"gw1.dmz.example","parents":["ms1.home.example"]})";
  for (std::size_t size = 1; size < body.size(); ++size)
    EXPECT_EQ(ask("POST", "/api/v1/gateways", body.substr(0, size)).status, 400u) << size;
  EXPECT_EQ(service_.nodes.size(), 1u);
}

TEST_F(Router, TheDirectionSwitchIsRefusedByNameAndReachesTheService) {
  const auto response = ask(
      "POST", "/api/v1/gateways",
      R"({"name":"gw1.dmz.example","parents":["ms1.home.example"],"direction":"parent-dials"})");
  EXPECT_EQ(response.status, 501u);
  EXPECT_EQ(object(response).at("type").as_string(), "urn:postern:problem:direction-not-available");
  EXPECT_EQ(service_.last_gateway.direction, Direction::parent_dials);
}

TEST_F(Router, PendingNodesAreApprovedAndRejected) {
  PendingView waiting;
  waiting.name = "a1.dmz.example";
  waiting.reason = "not approved yet";
  service_.waiting = {waiting};
  const auto items = object(ask("GET", "/api/v1/pending")).at("items").as_array();
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(items[0].at("reason").as_string(), "not approved yet");
  EXPECT_EQ(ask("POST", "/api/v1/pending/a1.dmz.example/approve").status, 201u);
  EXPECT_EQ(ask("POST", "/api/v1/pending/a1.dmz.example/approve").status, 404u);
  service_.waiting = {waiting};
  EXPECT_EQ(ask("POST", "/api/v1/pending/a1.dmz.example/reject").status, 200u);
  EXPECT_EQ(service_.audit_log.front().what, "reject");
}

TEST_F(Router, ANodeShowsWhetherItsStreamsAreComplete) {
  StreamView stream;
  stream.lane = "metric";
  stream.epoch_ordinal = 2;
  stream.epoch_random = "00000000000000ff";
  stream.sealed = 18'446'744'073'709'551'615u;
  stream.applied = {{1, 4}, {7, 9}};
  stream.gaps = {{{5, 6}, "disk full"}};
  service_.streams = {stream};
  service_.values = {
      {"system.memory.usage", "By", R"({"state":"used"})", 1048576, true, service_.now},
      {"system.cpu.load", "1", "", std::numeric_limits<double>::infinity(), false, service_.now}};
  const auto node = object(ask("GET", "/api/v1/nodes/ms1.home.example"));
  const auto& shown = node.at("streams").as_array().at(0).as_object();
  EXPECT_EQ(json::serialize(shown),
            R"({"lane":"metric","epoch":{"ordinal":2,"random":"00000000000000ff"},)"
            R"("sealed":18446744073709551615,"applied":[[1,4],[7,9]],)"
            R"("gaps":[{"first":5,"last":6,"reason":"disk full"}]})");
  const auto& values = node.at("values").as_array();
  EXPECT_EQ(values[0].at("value").as_int64(), 1048576);
  EXPECT_EQ(values[0].at("attributes").at("state").as_string(), "used");
  EXPECT_EQ(values[0].at("time").as_string(), "2027-01-15T08:00:00.000Z");
  EXPECT_TRUE(values[1].at("value").is_null());
}

TEST_F(Router, TheSigningRequestReachesTheServiceWithinItsLimits) {
  EXPECT_EQ(ask("POST", "/api/v1/certificates", R"({"csr":"PEM","days":30})").status, 201u);
  EXPECT_EQ(service_.last_request.csr_pem, "PEM");
  EXPECT_EQ(service_.last_request.days, 30u);
  for (const char* days : {"0", "-1", "3651", "1.5", "\"30\"", "4294967297"})
    EXPECT_EQ(
        ask("POST", "/api/v1/certificates", std::string(R"({"csr":"PEM","days":)") + days + "}")
            .status,
        422u)
        << days;
  const std::string huge(kCsrBytesMax + 1, 'x');
  EXPECT_EQ(ask("POST", "/api/v1/certificates", R"({"csr":")" + huge + "\"}").status, 422u);
}

TEST_F(Router, ARevocationReachesTheServiceOnce) {
  const std::string body = R"({"certificate":"gw1.dmz.example","reason":"compromised"})";
  EXPECT_EQ(ask("POST", "/api/v1/revocations", body, kReader).status, 403u);
  const auto first = ask("POST", "/api/v1/revocations", body);
  EXPECT_EQ(first.status, 201u);
  EXPECT_EQ(service_.last_revocation.certificate, "gw1.dmz.example");
  EXPECT_EQ(service_.last_revocation.reason, RevocationReason::compromised);
  EXPECT_EQ(ask("POST", "/api/v1/revocations", body).status, 200u);
  EXPECT_EQ(ask("POST", "/api/v1/revocations", R"({"certificate":"a1"})").status, 201u);
  EXPECT_EQ(service_.last_revocation.reason, RevocationReason::superseded);
  EXPECT_EQ(ask("POST", "/api/v1/revocations", R"({"certificate":"a1","reason":"bored"})").status,
            422u);
  EXPECT_EQ(ask("POST", "/api/v1/revocations", R"({"reason":"retired"})").status, 422u);
  const auto list = object(ask("GET", "/api/v1/revocations"));
  ASSERT_EQ(list.at("items").as_array().size(), 2u);
  EXPECT_EQ(list.at("items").at(1).at("reason").as_string(), "compromised");
}

TEST_F(Router, TheAuthorityIsChangedByAdministratorsAndNobodyIsLeftBehindByAccident) {
  service_.authority_view.waiting = {{"gw1.dmz.example", Role::gateway, false, {}, "sleeps"}};
  for (const char* step : {"roll", "switch", "finish"}) {
    const std::string target = std::string("/api/v1/authority/") + step;
    EXPECT_EQ(ask("POST", target, "{}", kReader).status, 403u) << step;
  }
  EXPECT_EQ(ask("POST", "/api/v1/authority/switch", "{}").status, 409u);
  EXPECT_EQ(ask("POST", "/api/v1/authority/switch", R"({"leave_behind":1})").status, 422u);
  EXPECT_EQ(ask("POST", "/api/v1/authority/switch", R"({"leave":true})").status, 422u);
  const auto switched = ask("POST", "/api/v1/authority/switch", R"({"leave_behind":true})");
  EXPECT_EQ(switched.status, 200u);
  EXPECT_EQ(object(switched).at("phase").as_string(), "renewing");
  const auto shown = object(ask("GET", "/api/v1/authority"));
  EXPECT_EQ(shown.at("waiting").at(0).at("reason").as_string(), "sleeps");
}

TEST_F(Router, TheGroupFileIsTextAndTheRestIsJson) {
  const auto file = ask("GET", "/api/v1/group/file");
  EXPECT_EQ(file.content_type, "text/plain; charset=utf-8");
  EXPECT_EQ(file.body, "postern-group: 1\n");
  EXPECT_EQ(object(ask("GET", "/api/v1/group")).at("name").as_string(), "corp");
  EXPECT_EQ(object(ask("GET", "/api/v1/servers")).at("items").as_array().size(), 1u);
}

TEST_F(Router, TheAuditListIsLimited) {
  for (int i = 0; i < 5; ++i) service_.audit_log.push_back({service_.now, "root", "x", "y", "z"});
  EXPECT_EQ(object(ask("GET", "/api/v1/audit?limit=3")).at("items").as_array().size(), 3u);
  EXPECT_EQ(object(ask("GET", "/api/v1/audit")).at("items").as_array().size(), 5u);
}

TEST_F(Router, TheLossLedgerSaysWhatWhoseWhenHowMuchAndWhy) {
  LossView gap;
  gap.node = "web1.dmz.example";
  gap.node_id = "00112233445566778899aabbccddeeff";
  gap.lane = "metric";
  gap.epoch_ordinal = 2;
  gap.epoch_random = "00000000000000ff";
  gap.range = {5, 9};
  gap.noted = gap.first_time = gap.last_time = service_.now;
  gap.records = 500;
  gap.bytes = 4096;
  gap.reason = "shed for space";
  LossView hole;
  hole.kind = LossView::Kind::hole;
  hole.node = "web2.dmz.example";
  service_.loss_list = {hole, gap};
  const auto items = object(ask("GET", "/api/v1/losses")).at("items").as_array();
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].at("kind").as_string(), "hole");
  EXPECT_TRUE(items[0].at("records").is_null());
  EXPECT_EQ(json::serialize(items[1]),
            R"({"kind":"gap","node":"web1.dmz.example",)"
            R"("node_id":"00112233445566778899aabbccddeeff","lane":"metric",)"
            R"("epoch":{"ordinal":2,"random":"00000000000000ff"},"first":5,"last":9,)"
            R"("noted":"2027-01-15T08:00:00.000Z","first_time":"2027-01-15T08:00:00.000Z",)"
            R"("last_time":"2027-01-15T08:00:00.000Z","records":500,"bytes":4096,)"
            R"("reason":"shed for space","where":null})");
  EXPECT_EQ(service_.last_query.limit, kLossLimitDefault + 1);
}

TEST_F(Router, ObservationsSayWhatCouldNotBeReadAndHowToGoOn) {
  service_.series_page.items = {{"system.load", "1", R"({"a":"b"})", 1.5, false, service_.now}};
  service_.series_page.next = "17 3 2";
  service_.series_page.unreadable = {{2, "00000000000000ff", 9, "no zstd frame"}};
  service_.series_page.not_shown = 4;
  const auto target = "/api/v1/nodes/web1.dmz.example/series";
  const auto page = object(ask("GET", target));
  EXPECT_EQ(json::serialize(page.at("items")),
            R"([{"metric":"system.load","unit":"1","attributes":{"a":"b"},"value":1.5E0,)"
            R"("time":"2027-01-15T08:00:00.000Z"}])");
  EXPECT_EQ(json::serialize(page.at("unreadable")),
            R"([{"epoch":{"ordinal":2,"random":"00000000000000ff"},"sequence":9,)"
            R"("reason":"no zstd frame"}])");
  EXPECT_EQ(page.at("not_shown").as_int64(), 4);
  ask("GET", std::string(target) +
                 "?metric=system.load&since=2027-01-15T07:00:00Z&limit=10000&cursor=" +
                 std::string(page.at("next").as_string()));
  EXPECT_EQ(service_.last_series.after, "17 3 2");
  EXPECT_EQ(service_.last_series.metric, "system.load");
  EXPECT_EQ(service_.last_series.limit, 10'000u);
  EXPECT_EQ(service_.last_series.since, service_.now - std::chrono::hours(1));
  EXPECT_EQ(service_.last_series.until, std::nullopt);
}

TEST_F(Router, EventsAreAskedBySeverityAndText) {
  EventView event;
  event.time = service_.now;
  event.severity = "error";
  event.body = "disk failed";
  event.attributes = "{}";
  service_.event_page.items = {event};
  const auto page =
      object(ask("GET", "/api/v1/nodes/a.example/events?severity=error&contains=disk%20f"));
  EXPECT_EQ(json::serialize(page.at("items").as_array()[0]),
            R"({"time":"2027-01-15T08:00:00.000Z","observed":null,"severity":"error",)"
            R"("severity_text":null,"name":null,"body":"disk failed","attributes":{}})");
  EXPECT_TRUE(page.at("next").is_null());
  EXPECT_EQ(service_.last_events.severity_min, 17);
  EXPECT_EQ(service_.last_events.contains, "disk f");
}

TEST_F(Router, TheInventoryOfANodeIsEachThingItTellsOf) {
  service_.entity_list = {
      {"host", R"({"host.name":"a"})", R"({"os.name":"Debian"})", service_.now}};
  EXPECT_EQ(json::serialize(object(ask("GET", "/api/v1/nodes/a.example/inventory")).at("items")),
            R"([{"type":"host","id":{"host.name":"a"},"attributes":{"os.name":"Debian"},)"
            R"("time":"2027-01-15T08:00:00.000Z"}])");
}

TEST_F(Router, TheLossLedgerIsAskedByNodeTimeAndNumber) {
  ask("GET", "/api/v1/losses?node=WEB1.dmz.example&since=2027-01-15T07%3A00%3A00.5Z&limit=7");
  EXPECT_EQ(service_.last_query.node, "web1.dmz.example");
  EXPECT_EQ(service_.last_query.since,
            service_.now - std::chrono::hours(1) + std::chrono::milliseconds(500));
  EXPECT_EQ(service_.last_query.limit, 8u);
  ask("GET", "/api/v1/losses?node=00112233445566778899AABBCCDDEEFF");
  EXPECT_EQ(service_.last_query.node, "00112233445566778899aabbccddeeff");
}

TEST_F(Router, AlertsAreListedShownAndClosedOnce) {
  AlertView old, open;
  old.id = 1;
  old.closed = service_.now;
  open.id = 2;
  open.severity = "critical";
  open.cause = "store rolled back";
  open.raised = open.last = service_.now;
  service_.alert_list = {open, old};
  EXPECT_EQ(object(ask("GET", "/api/v1/alerts")).at("items").as_array().size(), 2u);
  EXPECT_EQ(object(ask("GET", "/api/v1/alerts?open=false")).at("items").as_array().size(), 2u);
  EXPECT_EQ(object(ask("GET", "/api/v1/alerts?open=true")).at("items").as_array().size(), 1u);
  EXPECT_EQ(object(ask("GET", "/api/v1/alerts/2")).at("state").as_string(), "open");
  EXPECT_EQ(ask("GET", "/api/v1/alerts/3").status, 404u);
  EXPECT_EQ(ask("POST", "/api/v1/alerts/2/close", {}, kReader).status, 403u);
  EXPECT_EQ(object(ask("POST", "/api/v1/alerts/2/close")).at("state").as_string(), "closed");
  EXPECT_EQ(ask("POST", "/api/v1/alerts/2/close").status, 200u);
  EXPECT_EQ(service_.audit_log.size(), 1u);
}

TEST_F(Router, ATraceIsAskedForAndItsAnswerFetchedByItsId) {
  EXPECT_EQ(ask("POST", "/api/v1/nodes/ms1.home.example/trace", {}, kReader).status, 403u);
  EXPECT_EQ(ask("POST", "/api/v1/nodes/nobody.example.org/trace").status, 404u);
  const auto started = ask("POST", "/api/v1/nodes/ms1.home.example/trace");
  EXPECT_EQ(started.status, 202u);
  const std::string target = header(started, "Location");
  EXPECT_EQ(target, "/api/v1/traces/" + std::string(object(started).at("id").as_string()));
  EXPECT_EQ(ask("GET", target).status, 404u);

  TraceView waiting;
  waiting.node = "ms1.home.example";
  TraceView arrived = waiting;
  arrived.arrived = true;
  arrived.hops = {{"web1.dmz.example", "gw1.dmz.example", service_.now, -3}};
  arrived.total_ms = 12;
  service_.traces = {waiting, arrived};
  EXPECT_EQ(object(ask("GET", target)).at("state").as_string(), "waiting");
  const auto trace = object(ask("GET", target));
  EXPECT_EQ(trace.at("state").as_string(), "arrived");
  EXPECT_EQ(trace.at("total_ms").as_int64(), 12);
  EXPECT_EQ(trace.at("hops").at(0).at("wait_ms").as_int64(), -3);
}

TEST_F(Router, AListComesInPagesThatJoinWithoutHoleOrRepetition) {
  for (int i = 0; i < 7; ++i)
    service_.nodes.push_back(FakeService::agent_node(fmt::format("a{}.dmz.example", i).c_str()));
  std::vector<std::string> names;
  std::string cursor;
  for (int page = 0; page < 4; ++page) {
    const auto list = object(ask("GET", "/api/v1/nodes?limit=3" + cursor));
    for (const auto& item : list.at("items").as_array())
      names.emplace_back(item.at("name").as_string());
    if (list.at("next").is_null()) break;
    cursor = "&cursor=" + std::string(list.at("next").as_string());
  }
  EXPECT_THAT(names, testing::ElementsAre("a0.dmz.example", "a1.dmz.example", "a2.dmz.example",
                                          "a3.dmz.example", "a4.dmz.example", "a5.dmz.example",
                                          "a6.dmz.example", "ms1.home.example"));
  EXPECT_EQ(ask("GET", "/api/v1/nodes?cursor=xyz").status, 400u);
  EXPECT_EQ(ask("GET", "/api/v1/nodes?cursor=").status, 400u);
}

TEST_F(Router, PagesOfTheAuditListFollowItsRows) {
  for (const char* name : {"a1.dmz.example", "a2.dmz.example", "a3.dmz.example"})
    ask("POST", "/api/v1/agents", fmt::format(R"({{"name":"{}"}})", name));
  const auto first = object(ask("GET", "/api/v1/audit?limit=2"));
  EXPECT_EQ(first.at("items").at(0).at("subject").as_string(), "a3.dmz.example");
  const auto next = std::string(first.at("next").as_string());
  ask("POST", "/api/v1/agents", R"({"name":"a4.dmz.example"})");
  const auto second = object(ask("GET", "/api/v1/audit?limit=2&cursor=" + next));
  ASSERT_EQ(second.at("items").as_array().size(), 1u) << "what came since is not in between";
  EXPECT_EQ(second.at("items").at(0).at("subject").as_string(), "a1.dmz.example");
  EXPECT_TRUE(second.at("next").is_null());
  EXPECT_EQ(ask("GET", "/api/v1/audit?cursor=616263").status, 400u) << "a place in another list";
}

TEST_F(Router, NodesAreFoundByPatternAndConnection) {
  service_.nodes.push_back(FakeService::agent_node("web1.dmz.example"));
  const auto names = [&](const char* target) {
    return object(ask("GET", target)).at("items").as_array().size();
  };
  EXPECT_EQ(names("/api/v1/nodes?name=WEB*"), 1u);
  EXPECT_EQ(names("/api/v1/nodes?name=*.example"), 2u);
  EXPECT_EQ(names("/api/v1/nodes?name=web"), 0u) << "the whole name";
  EXPECT_EQ(names("/api/v1/nodes?connected=true"), 1u);
  EXPECT_EQ(names("/api/v1/agents?connected=true"), 0u);
  EXPECT_EQ(ask("GET", "/api/v1/nodes?connected=yes").status, 400u);
}

TEST_F(Router, WhoHasItAlreadyIsToldSoInsteadOfSentItAgain) {
  const auto first = ask("GET", "/api/v1/nodes");
  const std::string tag = header(first, "ETag");
  ASSERT_FALSE(tag.empty());
  HttpRequest again;
  again.target = "/api/v1/nodes";
  again.headers = {{"if-none-match", "\"other\", W/" + tag}};
  EXPECT_EQ(handle(again, kReader, service_).status, 304u);
  EXPECT_TRUE(handle(again, kReader, service_).body.empty());
  service_.nodes.push_back(FakeService::agent_node("a1.dmz.example"));
  EXPECT_EQ(handle(again, kReader, service_).status, 200u);
}

TEST_F(Router, WhoDecidesDecidesOnWhatTheySaw) {
  PendingView waiting;
  waiting.name = "a1.dmz.example";
  waiting.certificate_sha256 = "aa";
  service_.waiting = {waiting};
  const std::string tag = header(ask("GET", "/api/v1/pending/a1.dmz.example"), "ETag");
  HttpRequest approve;
  approve.method = "POST";
  approve.target = "/api/v1/pending/a1.dmz.example/approve";
  approve.headers = {{"if-match", tag}};
  service_.waiting[0].certificate_sha256 = "bb";  // somebody else under this name
  EXPECT_EQ(handle(approve, kAdministrator, service_).status, 412u);
  EXPECT_TRUE(service_.audit_log.empty());
  service_.waiting[0].certificate_sha256 = "aa";
  EXPECT_EQ(handle(approve, kAdministrator, service_).status, 201u);
  approve.target = "/api/v1/nodes/a1.dmz.example/trace";
  EXPECT_EQ(handle(approve, kAdministrator, service_).status, 400u)
      << "a precondition that is not looked at would be a false promise";
}

TEST_F(Router, EachOperationNeedsItsScope) {
  AlertView alert;
  alert.id = 1;
  service_.alert_list = {alert};
  const Caller on_call{0, 0, "token 1", Scope::operate};
  EXPECT_EQ(ask("POST", "/api/v1/alerts/1/close", {}, kReader).status, 403u);
  EXPECT_EQ(ask("POST", "/api/v1/alerts/1/close", {}, on_call).status, 200u);
  EXPECT_EQ(ask("POST", "/api/v1/agents", R"({"name":"a1.dmz.example"})", on_call).status, 403u);
  EXPECT_EQ(ask("GET", "/api/v1/tokens", {}, on_call).status, 403u);
  EXPECT_EQ(ask("POST", "/api/v1/tokens", R"({"role":"operator"})", on_call).status, 403u)
      << "nobody makes themselves more than they are";
}

TEST_F(Router, ATokenIsShownOnceAndRevoked) {
  const auto made = ask("POST", "/api/v1/tokens", R"({"role":"operator","label":"wall","days":7})");
  EXPECT_EQ(made.status, 201u);
  const std::string id(object(made).at("id").as_string());
  EXPECT_THAT(std::string(object(made).at("token").as_string()), HasSubstr(id));
  const auto list = ask("GET", "/api/v1/tokens");
  EXPECT_EQ(object(list).at("items").at(0).at("role").as_string(), "operator");
  EXPECT_THAT(list.body, testing::Not(HasSubstr("postern_")));
  EXPECT_EQ(ask("DELETE", "/api/v1/tokens/" + id).status, 200u);
  EXPECT_EQ(ask("DELETE", "/api/v1/tokens/" + id).status, 404u);
  for (const char* body :
       {R"({"role":"king"})", R"({"label":"x"})", R"({"role":"operator","days":0})"})
    EXPECT_EQ(ask("POST", "/api/v1/tokens", body).status, 422u) << body;
}

TEST_F(Router, JoinTokensAreForAdministratorsAndForAgentsAndGateways) {
  const Caller on_call{1000, 1000, "on-call", Scope::operate};
  EXPECT_EQ(ask("GET", "/api/v1/join-tokens", {}, on_call).status, 403u);
  EXPECT_EQ(ask("POST", "/api/v1/join-tokens", R"({"role":"agent"})", on_call).status, 403u);
  const auto made = ask("POST", "/api/v1/join-tokens",
                        R"({"role":"gateway","name":"gw*","uses_max":2,"pending":true,
                            "lifetime_seconds":3600,"addresses":["gw1.dmz.example"]})");
  EXPECT_EQ(made.status, 201u) << made.body;
  EXPECT_EQ(service_.last_join_token.lifetime, std::chrono::hours(1));
  EXPECT_FALSE(service_.last_join_token.approves);
  const auto list = ask("GET", "/api/v1/join-tokens");
  EXPECT_EQ(list.body.find("secret"), std::string::npos) << "shown once";
  EXPECT_EQ(ask("DELETE", "/api/v1/join-tokens/0000000000000001").status, 200u);
  EXPECT_EQ(ask("DELETE", "/api/v1/join-tokens/0000000000000001").status, 404u);
  for (const char* body :
       {R"({})", R"({"role":"server"})", R"({"role":"agent","uses_max":0})",
        R"({"role":"agent","lifetime_seconds":59})", R"({"role":"agent","pending":"yes"})",
        R"({"role":"agent","addresses":"gw1"})", R"({"role":"agent","addresses":[1]})",
        R"({"role":"agent","parents":["gw 1"]})"})
    EXPECT_EQ(ask("POST", "/api/v1/join-tokens", body).status, 422u) << body;
}

TEST_F(Router, WhoListensToChangesSaysWhichAndFromWhere) {
  HttpRequest request;
  request.target = "/api/v1/changes?kinds=node,alert";
  request.headers = {{"last-event-id", "7-1"}};
  const auto response = handle(request, kReader, service_);
  EXPECT_EQ(response.content_type, "text/event-stream");
  EXPECT_TRUE(response.go_on);
  EXPECT_THAT(service_.last_changes.kinds, testing::ElementsAre("alert", "node"));
  EXPECT_EQ(service_.last_changes.last_id, "7-1");
  const auto wrong = ask("GET", "/api/v1/changes?kinds=node,weather");
  EXPECT_EQ(wrong.status, 400u);
  EXPECT_THAT(detail(wrong), HasSubstr("'weather'"));
}

TEST(Pattern, AStarStandsForAnyCharacters) {
  EXPECT_TRUE(matches_pattern("*", ""));
  EXPECT_TRUE(matches_pattern("a*c", "abbc"));
  EXPECT_TRUE(matches_pattern("*ab*", "aab"));
  EXPECT_TRUE(matches_pattern("a**", "a"));
  EXPECT_FALSE(matches_pattern("a*c", "abcd"));
  EXPECT_FALSE(matches_pattern("", "a"));
  EXPECT_FALSE(matches_pattern("abc*", "ab"));
}

TEST(Token, ItsTextSaysItsIdAndTheDigestOfItsSecret) {
  const Bytes secret(kTokenSecretBytes, std::byte{7});
  const std::string text = token_text("00112233aabb", secret);
  const auto parsed = parse_token(text);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->id, "00112233aabb");
  EXPECT_EQ(parsed->secret_sha256, sha256(secret));
  for (std::size_t size = 0; size < text.size(); ++size)
    EXPECT_FALSE(parse_token(text.substr(0, size))) << size;
  EXPECT_FALSE(parse_token(text + "0"));
  EXPECT_EQ(bearer_token("bearer abc"), "abc");
  EXPECT_EQ(bearer_token("Basic abc"), "");
  EXPECT_EQ(bearer_token("Bearer "), "");
}

TEST(LocalCaller, RootIsAdministratorAndAnUnknownUserIsNot) {
  EXPECT_EQ(local_caller(0, 0).scope, Scope::administrate);
  EXPECT_EQ(local_caller(0, 0).name, "root");
  EXPECT_EQ(local_caller(::geteuid(), 4'000'000).scope,
            Scope::administrate);  // whoever runs the server
  const Caller nobody = local_caller(4'000'000, 4'000'000);
  EXPECT_EQ(nobody.scope, Scope::read_only);
  EXPECT_EQ(nobody.name, "uid 4000000");
}

TEST(LocalCaller, MembershipOfTheGroupMakesAnAdministrator) {
  EXPECT_EQ(local_caller(4'000'000, 1, "daemon").scope, Scope::administrate);  // primary group
  EXPECT_EQ(local_caller(4'000'000, 2, "daemon").scope, Scope::read_only);
  EXPECT_EQ(local_caller(4'000'000, 2, "no-such-group").scope, Scope::read_only);
}

}  // namespace
}  // namespace postern::api
