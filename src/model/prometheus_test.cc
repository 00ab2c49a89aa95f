#include "model/prometheus.h"

#include <gtest/gtest.h>

#include <limits>

namespace postern {
namespace {

Measurement measured(const char* name, const char* unit, std::variant<std::int64_t, double> value,
                     MeasurementKind kind = MeasurementKind::gauge) {
  Measurement m;
  m.name = name;
  m.unit = unit;
  m.value = value;
  m.kind = kind;
  return m;
}

TEST(Prometheus, NamesHaveUnitsAndCountersEndInTotal) {
  Measurement spool = measured("postern.spool.usage", "By", std::int64_t{7});
  spool.description = "What lies in the spool.";
  const std::vector all{spool,
                        measured("postern.server.batches.applied", "{batch}", std::int64_t{3},
                                 MeasurementKind::monotonic_sum),
                        measured("process.uptime", "ms", std::int64_t{1500})};
  EXPECT_EQ(prometheus_text(all),
            "# HELP postern_server_batches_applied_total OpenTelemetry "
            "postern.server.batches.applied.\n"
            "# TYPE postern_server_batches_applied_total counter\n"
            "postern_server_batches_applied_total 3\n"
            "# HELP postern_spool_usage_bytes What lies in the spool.\n"
            "# TYPE postern_spool_usage_bytes gauge\n"
            "postern_spool_usage_bytes 7\n"
            "# HELP process_uptime_seconds OpenTelemetry process.uptime.\n"
            "# TYPE process_uptime_seconds gauge\n"
            "process_uptime_seconds 1.5\n");
}

TEST(Prometheus, AFamilyStandsTogetherAndLabelsAreEscaped) {
  Measurement a = measured("x", "1", 0.5), b = measured("y", "1", std::int64_t{1}), c = a;
  a.attributes = {{"disk.name", std::string("s\"d\\a\n")}};
  c.attributes = {{"on", true}};
  const std::string text = prometheus_text(std::vector{a, b, c});
  EXPECT_NE(text.find("x{disk_name=\"s\\\"d\\\\a\\n\"} 0.5\nx{on=\"true\"} 0.5\n"),
            std::string::npos)
      << text;
}

TEST(Prometheus, WhatIsNoNumberIsSaidAsPrometheusSaysIt) {
  const std::string text =
      prometheus_text(std::vector{measured("a", "1", std::numeric_limits<double>::quiet_NaN()),
                                  measured("b", "1", -std::numeric_limits<double>::infinity())});
  EXPECT_NE(text.find("\na NaN\n"), std::string::npos);
  EXPECT_NE(text.find("\nb -Inf\n"), std::string::npos);
}

}  // namespace
}  // namespace postern
