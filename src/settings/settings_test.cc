#include "settings/settings.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

constexpr const char* kGateway = R"(group: demo
name: GW1.dmz.example
state_dir: /var/lib/postern/gateway
listen: 192.0.2.7:5723
parents:
  - ms.home.example
  - {name: ms2.home.example, address: 192.0.2.1:6000}
interval: 30s
spool: {bytes_max: 2GiB}
)";

TEST(Settings, ReadsAGateway) {
  auto s = parse_node_settings(kGateway, "gateway.yaml", NodeRole::gateway);
  ASSERT_TRUE(s) << s.error().message;
  EXPECT_EQ(s->name, "gw1.dmz.example");
  EXPECT_EQ(s->listen, (Endpoint{"192.0.2.7", 5723}));
  ASSERT_EQ(s->parents.size(), 2u);
  EXPECT_EQ(s->parents[0], (ParentSetting{"ms.home.example", {"ms.home.example", 5723}}));
  EXPECT_EQ(s->parents[1], (ParentSetting{"ms2.home.example", {"192.0.2.1", 6000}}));
  EXPECT_EQ(s->interval, Duration(std::chrono::seconds(30)));
  EXPECT_EQ(s->spool_bytes_max, 2ull << 30);
}

std::string error_of(std::string_view text, NodeRole role = NodeRole::agent) {
  auto s = parse_node_settings(text, "agent.yaml", role);
  return s ? "" : s.error().message;
}

// The operator must find the line without counting.
TEST(Settings, NamesFileLineKeyAndValue) {
  const std::string base = "group: demo\nname: a.example.net\nparents: [gw.example.net]\n";
  EXPECT_EQ(error_of(base), "");
  EXPECT_EQ(error_of(base + "intervall: 30s\n"),
            "agent.yaml:4: unknown key intervall; known here are: certificates, collectors, "
            "events, group, "
            "interval, log_level, "
            "name, parents, spool, "
            "state_dir");
  EXPECT_EQ(error_of(base + "interval: 30\n"),
            "agent.yaml:4: interval: '30' is not a duration; write a number with ms, s, m, h or d, "
            "like 30s");
  EXPECT_EQ(error_of(base + "spool:\n  bytes_max: 10MiB\n"),
            "agent.yaml:5: spool.bytes_max: 10MiB is outside of 64.0 MiB to 1024.0 TiB");
  EXPECT_NE(error_of(base + "listen: 0.0.0.0:5723\n").find("unknown key listen"), std::string::npos)
      << "an agent does not listen";
  EXPECT_EQ(error_of("group: demo\nparents: [gw.example.net]\n"), "agent.yaml: name is missing");
  EXPECT_NE(error_of("group: [demo\n").find("agent.yaml:"), std::string::npos);
  EXPECT_NE(
      error_of("name: a.example.net\ngroup: demo\nparents: [a.example.net]\n").find("own parent"),
      std::string::npos);
  EXPECT_NE(
      error_of("name: nodots\ngroup: demo\nparents: [a.example.net]\n").find("fully qualified"),
      std::string::npos);
}

TEST(Settings, CertificatesAreRenewedUnlessToldOtherwise) {
  const std::string base = "group: demo\nname: a.example.net\n";
  const auto node = [&](const std::string& more) {
    return parse_node_settings(base + "parents: [gw.example.net]\n" + more, "agent.yaml",
                               NodeRole::agent);
  };
  EXPECT_EQ(node("")->certificates, CertificateSettings{});
  const auto set = node("certificates: {renew: off, expiry_grace: 1h}\n");
  ASSERT_TRUE(set) << set.error().message;
  EXPECT_EQ(set->certificates,
            (CertificateSettings{.renew = false, .expiry_grace = std::chrono::hours(1)}));
  const auto server =
      parse_server_settings(base + "certificates: {lifetime: 30d, renew_expired: 0s}\n", "s.yaml");
  EXPECT_EQ(server->certificates.renew_expired, Duration(0));
  ASSERT_TRUE(server) << server.error().message;
  EXPECT_EQ(server->certificates.lifetime, std::chrono::hours(30 * 24));
  for (const char* bad : {"renew: perhaps", "expiry_grace: 2y", "expiry_grace: -1s", "lifetime: 1d",
                          "crl: /x.crl", "crl: [x.crl]", "stale_crl: ignore", "renew_expired: 1d"})
    EXPECT_FALSE(node(fmt::format("certificates: {{{}}}\n", bad))) << bad;
  EXPECT_FALSE(parse_server_settings(base + "certificates: {lifetime: 1s}\n", "s.yaml"));
}

TEST(Settings, AHookIsAProgramWithArgumentsAndNeedsTheFolder) {
  const auto node = [](const std::string& certificates) {
    return parse_node_settings(
        "group: demo\nname: a.example.net\nparents: [gw.example.net]\n"
        "certificates: {" +
            certificates + "}\n",
        "agent.yaml", NodeRole::agent);
  };
  const auto set = node("hook: [/usr/bin/renew, --name, 'a b'], folder: /etc/c");
  ASSERT_TRUE(set) << set.error().message;
  EXPECT_EQ(set->certificates.hook, (std::vector<std::string>{"/usr/bin/renew", "--name", "a b"}));
  EXPECT_TRUE(node("hook: []")) << "none";
  const auto alone = node("hook: [/usr/bin/renew]");
  ASSERT_FALSE(alone);
  EXPECT_NE(alone.error().message.find("agent.yaml:4: certificates.hook: it needs "
                                       "certificates.folder"),
            std::string::npos)
      << alone.error().message;
  for (const char* bad : {"/usr/bin/renew", "[renew]", "[[a]]"})
    EXPECT_FALSE(node(fmt::format("folder: /etc/c, hook: {}", bad))) << bad;
}

TEST(Settings, RevocationListsAreFilesAndStaleOnesOnlyWarnUnlessToldOtherwise) {
  const std::string base = "group: demo\nname: a.example.net\n";
  const auto set = parse_server_settings(
      base + "certificates: {crl: [/etc/a.crl, /etc/b.crl], stale_crl: refuse}\n", "s.yaml");
  ASSERT_TRUE(set) << set.error().message;
  EXPECT_EQ(set->certificates.crl, (std::vector<std::string>{"/etc/a.crl", "/etc/b.crl"}));
  EXPECT_TRUE(set->certificates.refuse_on_stale_crl);
  const auto warns = parse_server_settings(base + "certificates: {stale_crl: warn}\n", "s.yaml");
  ASSERT_TRUE(warns) << warns.error().message;
  EXPECT_FALSE(warns->certificates.refuse_on_stale_crl);
  EXPECT_FALSE(CertificateSettings{}.refuse_on_stale_crl);
}

TEST(Settings, EventsAreTheJournalFromWarningOnUnlessToldOtherwise) {
  const auto parse = [](const std::string& events) {
    return parse_node_settings("group: d\nname: a.example\nparents: [g.example]\n" + events,
                               "agent.yaml", NodeRole::agent);
  };
  auto s = parse("");
  ASSERT_TRUE(s) << s.error().message;
  EXPECT_EQ(s->events, EventSettings{});
  s = parse(
      "events:\n  journal: {priority: error}\n  files:\n"
      "    - {path: /var/log/*.log, multiline: {start: '^\\d'}, severity: info, from: "
      "beginning}\n");
  ASSERT_TRUE(s) << s.error().message;
  EXPECT_EQ(s->events.journal, EventSettings::Journal::on);
  EXPECT_EQ(s->events.journal_priority, 3u);
  ASSERT_EQ(s->events.files.size(), 1u);
  EXPECT_EQ(s->events.files[0], (EventSettings::Files{"/var/log/*.log", "^\\d", "info", true}));
  EXPECT_EQ(parse("events: {journal: off}\n")->events.journal, EventSettings::Journal::off);
  for (const char* bad :
       {"events: {journal: {priority: loud}}\n", "events: {journals: off}\n",
        "events: {files: [{path: relative.log}]}\n", "events: {files: [{severity: info}]}\n",
        "events: {files: [{path: /a, multiline: {start: '['}}]}\n",
        "events: {files: [{path: /a, form: end}]}\n", "events: {records_per_second_max: 0}\n"}) {
    const auto wrong = parse(bad);
    ASSERT_FALSE(wrong) << bad;
    EXPECT_NE(wrong.error().message.find("agent.yaml:"), std::string::npos)
        << wrong.error().message;
  }
}

TEST(Settings, CollectorsFollowTheIntervalUnlessToldOtherwise) {
  const auto sampling = [](const std::string& more) {
    auto s = parse_node_settings("group: d\nname: a.example\nparents: [g.example]\n" + more,
                                 "agent.yaml", NodeRole::agent);
    EXPECT_TRUE(s) << s.error().message;
    return s ? Sampling{s->interval, s->collectors} : Sampling{};
  };
  using std::chrono::seconds;
  Sampling s = sampling("interval: 5s\n");
  for (const CollectorId id : all_collectors()) EXPECT_TRUE(s.on(id)) << name_of(id);
  EXPECT_EQ(s.interval_of(CollectorId::cpu), seconds(5));
  EXPECT_EQ(s.interval_of(CollectorId::units), seconds(60)) << "it starts a process each time";
  s = sampling(
      "collectors:\n  cpu: {interval: 30s}\n  processes: off\n  swap: on\n  units:\n"
      "    interval: 10s\n");
  EXPECT_EQ(s.interval_of(CollectorId::cpu), seconds(30));
  EXPECT_FALSE(s.on(CollectorId::processes));
  EXPECT_TRUE(s.on(CollectorId::swap));
  EXPECT_EQ(s.interval_of(CollectorId::units), seconds(10));
  EXPECT_EQ(s.interval_of(CollectorId::memory), seconds(60));
}

TEST(Settings, AMistakeInACollectorNamesItsLine) {
  const std::string base = "group: demo\nname: a.example.net\nparents: [gw.example.net]\n";
  EXPECT_EQ(error_of(base + "collectors:\n  cpu: never\n"),
            "agent.yaml:5: collectors.cpu: it must be on, off or {interval: DURATION}");
  EXPECT_EQ(error_of(base + "collectors:\n  cpu:\n    interval: 25h\n"),
            "agent.yaml:6: collectors.cpu.interval: 25h is outside of 1s to 1d");
  EXPECT_EQ(error_of(base + "collectors:\n  cpu:\n    intervals: 2s\n"),
            "agent.yaml:6: unknown key collectors.cpu.intervals; known here are: interval");
  EXPECT_NE(error_of(base + "collectors:\n  disk: off\n")
                .find("agent.yaml:5: unknown key collectors.disk; known here are: clock, "
                      "connections, cpu, disks"),
            std::string::npos);
  EXPECT_EQ(error_of(base + "collectors: off\n"),
            "agent.yaml:4: collectors must be a section of key: value");
}

TEST(Settings, ReadsAServerWithItsDefaults) {
  auto s = parse_server_settings("group: demo\nname: ms.home.example\nstate_dir: /srv/postern\n",
                                 "server.yaml");
  ASSERT_TRUE(s) << s.error().message;
  EXPECT_EQ(s->store, "sqlite:/srv/postern/store.sqlite");
  EXPECT_EQ(s->api_socket, "/srv/postern/api.sock");
  EXPECT_EQ(s->addresses, std::vector<std::string>{"ms.home.example:5723"});
  EXPECT_FALSE(parse_server_settings("group: d\nname: m.example\nagents: maybe\n", "server.yaml"));
  EXPECT_FALSE(
      parse_server_settings("group: d\nname: m.example\nstore: mysql://x\n", "server.yaml"));
}

TEST(Settings, AStoreOnPostgresqlHasItsPasswordInAFile) {
  const auto read = [](const std::string& store) {
    return parse_server_settings("group: d\nname: m.example\nstore: " + store + "\n",
                                 "server.yaml");
  };
  const std::string url = "postgresql://postern@db1.example:5432,[2001:db8::1]:5433/postern";
  auto s = read(url + "?sslmode=verify-full\nstore_password_file: /etc/postern/store.password");
  ASSERT_TRUE(s) << s.error().message;
  EXPECT_EQ(s->store, url + "?sslmode=verify-full");
  EXPECT_EQ(s->store_password_file, "/etc/postern/store.password");
  for (const std::string secret :
       {"postgresql://postern:hush@db.example/p", "postgres://postern:hush@db.example",
        "postgresql://db.example/p?user=postern&password=hush"}) {
    s = read(secret);
    ASSERT_FALSE(s) << secret;
    EXPECT_EQ(s.error().message.find("hush"), std::string::npos) << s.error().message;
    EXPECT_NE(s.error().message.find("store_password_file"), std::string::npos);
  }
}

TEST(Endpoints, AreReadWithAndWithoutPort) {
  EXPECT_EQ(parse_endpoint("host.example"), (Endpoint{"host.example", 5723}));
  EXPECT_EQ(parse_endpoint("[2001:db8::1]:99"), (Endpoint{"2001:db8::1", 99}));
  EXPECT_EQ(to_string(Endpoint{"2001:db8::1", 99}), "[2001:db8::1]:99");
  for (const char* bad : {"", ":5723", "host:", "host:port", "host:70000", "2001:db8::1", "[::1",
                          "[host.example]:5723"})
    EXPECT_FALSE(parse_endpoint(bad)) << bad;
}

TEST(Settings, AlertsHaveTheirLimitsAndWhereTheyCloseMovesAlong) {
  const auto parse = [](const std::string& alerts) {
    return parse_server_settings("group: d\nname: ms.example\n" + alerts, "server.yaml");
  };
  EXPECT_EQ(parse("")->alerts, AlertLimits{});
  EXPECT_EQ(parse("alerts: {}\n")->alerts, AlertLimits{});
  const auto s = parse(
      "alerts:\n  heartbeats_missed: 5\n  never_connected_after: 10m\n  clock: {warning: 3s}\n"
      "  spool_fill: {warning: 40%, critical: 50%}\n  spool_age: 10m\n"
      "  certificate: {warning: 20%, critical: 5%}\n  finding_quiet: 2h\n");
  ASSERT_TRUE(s) << s.error().message;
  const AlertLimits& alerts = s->alerts;
  EXPECT_EQ(alerts.heartbeats_missed, 5);
  EXPECT_EQ(alerts.never_connected_after, Duration(std::chrono::minutes(10)));
  EXPECT_EQ(alerts.clock_warning, (Threshold{3, 2}));
  EXPECT_EQ(alerts.clock_critical, (Threshold{300, 240}));
  EXPECT_EQ(alerts.fill_warning, (Threshold{40, 35}));
  EXPECT_EQ(alerts.fill_critical.open, 50);
  EXPECT_EQ(alerts.age_warning, (Threshold{600, 300}));
  EXPECT_EQ(alerts.certificate_warning, 0.2);
  EXPECT_EQ(alerts.certificate_critical, 0.05);
  EXPECT_EQ(alerts.finding_quiet, Duration(std::chrono::hours(2)));
}

TEST(Settings, AMistakeInTheLimitsOfAlertsNamesItsLine) {
  const auto error_in = [](const std::string& alerts) {
    const auto s =
        parse_server_settings("group: d\nname: ms.example\nalerts:\n" + alerts, "server.yaml");
    return s ? "" : s.error().message;
  };
  EXPECT_EQ(error_in("  heartbeats_missed: 1\n"),
            "server.yaml:4: alerts.heartbeats_missed: '1' is no number from 2 to 100");
  EXPECT_EQ(error_in("  spool_fill: {warning: 80}\n"),
            "server.yaml:4: alerts.spool_fill.warning: '80' is no share from 1% to 100%");
  EXPECT_EQ(error_in("  spool_age: 1h\n  spool_fill: {warning: 96%}\n"),
            "server.yaml:5: alerts.spool_fill: critical must be above warning");
  EXPECT_EQ(error_in("  certificate: {critical: 50%}\n"),
            "server.yaml:4: alerts.certificate: critical must be below warning");
  EXPECT_EQ(error_in("  clock: 5s\n"),
            "server.yaml:4: alerts.clock must be a section of key: value");
  EXPECT_NE(error_in("  clocks: {}\n").find("server.yaml:4: unknown key alerts.clocks"),
            std::string::npos);
}

}  // namespace
}  // namespace postern
