#include "node/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/measures.h"

namespace postern::node {
namespace {

class StatusTest : public testing::Test {
 protected:
  HttpResponse ask(const char* method, const char* target, bool trusted) {
    HttpRequest request;
    request.method = method;
    request.target = target;
    return status_page(request, trusted,
                       {[this] { return unready_; },
                        [] {
                          Measures m(wall_from_ms(2), wall_from_ms(1));
                          m.gauge("postern.spool.usage", "By", 7, "Bytes.");
                          return m.take();
                        }});
  }
  std::string unready_;
};

TEST_F(StatusTest, StrangersHearThatItLivesAndNothingElse) {
  EXPECT_EQ(ask("GET", "/livez", false).body, "alive\n");
  EXPECT_EQ(ask("GET", "/readyz", false).status, 404u);
  EXPECT_EQ(ask("GET", "/metrics", false).status, 404u);
  EXPECT_EQ(ask("POST", "/livez", false).status, 405u);
}

TEST_F(StatusTest, WhoIsKnownHearsWhetherItDeliversAndHowItFares) {
  EXPECT_EQ(ask("GET", "/readyz", true).body, "ready\n");
  unready_ = "no parent is attached";
  EXPECT_EQ(ask("GET", "/readyz", true).status, 503u);
  EXPECT_EQ(ask("GET", "/readyz?verbose", true).body, "no parent is attached\n");
  EXPECT_THAT(ask("GET", "/metrics", true).body,
              testing::HasSubstr("\npostern_spool_usage_bytes 7\n"));
  EXPECT_EQ(ask("GET", "/api/v1/nodes", true).status, 404u);
}

}  // namespace
}  // namespace postern::node
