#include "net/http_response.h"

#include <gmock/gmock.h>

namespace postern {
namespace {

using testing::HasSubstr;

TEST(HttpResponseReader, ReadsAnAnswerInAnyPieces) {
  const std::string text = "HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nContent-Length: 5\r\n\r\nlater";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    HttpResponseReader reader(false);
    ASSERT_TRUE(reader.put(text.substr(0, cut)));
    const auto whole = reader.put(text.substr(cut));
    ASSERT_TRUE(whole && *whole) << cut;
    const HttpResponse response = reader.take();
    EXPECT_EQ(response.status, 503u);
    EXPECT_EQ(response.body, "later");
  }
}

TEST(HttpResponseReader, WhoHangsUpHasNotAnswered) {
  HttpResponseReader nothing(false);
  EXPECT_THAT(nothing.end().error().message, HasSubstr("before an answer"));
  HttpResponseReader half(false);
  ASSERT_TRUE(half.put("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nla"));
  EXPECT_THAT(half.end().error().message, HasSubstr("within the answer"));
  HttpResponseReader headers(false);
  ASSERT_TRUE(headers.put("HTTP/1.1 200"));
  EXPECT_FALSE(headers.end());
}

TEST(HttpResponseReader, TheEndMayEndTheBody) {
  HttpResponseReader reader(false);
  ASSERT_TRUE(reader.put("HTTP/1.1 200 OK\r\n\r\nall of it"));
  ASSERT_TRUE(reader.end());
  EXPECT_EQ(reader.take().body, "all of it");
}

TEST(HttpResponseReader, ChunksAndGarbageAreRefused) {
  for (const char* text :
       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "SSH-2.0-x\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"}) {
    HttpResponseReader reader(false);
    EXPECT_FALSE(reader.put(text)) << text;
  }
  HttpResponseReader endless(false);
  EXPECT_FALSE(endless.put("HTTP/1.1 200 OK\r\nA: " + std::string(20'000, 'x')));
}

}  // namespace
}  // namespace postern
