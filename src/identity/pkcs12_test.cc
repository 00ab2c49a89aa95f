#include "identity/pkcs12.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "identity/test_pkcs12.h"

namespace postern {
namespace {

using testing::HasSubstr;
using testing_support::authority_recipe;
using testing_support::Issued;
using testing_support::make;
using testing_support::pkcs12_of;
using testing_support::Pkcs12Recipe;

/// The last place of a number, written as DER does, replaced by one of the same size.
Bytes with_rounds(Bytes bytes, std::uint32_t from, std::uint32_t to) {
  const auto written = [](std::uint32_t number) {
    return std::array{std::byte{0x02}, std::byte{0x03}, static_cast<std::byte>(number >> 16),
                      static_cast<std::byte>(number >> 8), static_cast<std::byte>(number)};
  };
  const auto was = written(from), is = written(to);
  const auto at = std::find_end(bytes.begin(), bytes.end(), was.begin(), was.end());
  EXPECT_NE(at, bytes.end());
  if (at != bytes.end()) std::copy(is.begin(), is.end(), at);
  return bytes;
}

class Pkcs12Test : public testing::Test {
 protected:
  const Issued root_ = make(authority_recipe("demo CA"));
  const Issued middle_ = make(authority_recipe("site CA"), &root_);
  const Issued leaf_ = make({}, &middle_);

  Pkcs12 read(const Bytes& bytes, std::optional<std::string_view> password) {
    auto opened = read_pkcs12(bytes, password);
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? std::move(*opened) : Pkcs12{};
  }
};

TEST_F(Pkcs12Test, EveryUsualWayOfEncryptingIsReadAlsoTheOldOnes) {
  struct Kind {
    int key, certificates;
  };
  for (const auto& [key, certificates] :
       {Kind{NID_aes_256_cbc, NID_aes_256_cbc}, Kind{NID_aes_128_cbc, -1},
        Kind{NID_pbe_WithSHA1And3_Key_TripleDES_CBC, NID_pbe_WithSHA1And40BitRC2_CBC},
        Kind{NID_pbe_WithSHA1And3_Key_TripleDES_CBC, NID_pbe_WithSHA1And3_Key_TripleDES_CBC},
        Kind{NID_pbe_WithSHA1And128BitRC4, NID_pbe_WithSHA1And128BitRC2_CBC}, Kind{-1, -1}}) {
    Pkcs12Recipe recipe;
    recipe.key_cipher = key;
    recipe.certificate_cipher = certificates;
    recipe.rounds = 2048;
    recipe.code_rounds = 2048;
    recipe.more = {root_.certificate, middle_.certificate};
    const Bytes bytes = pkcs12_of(leaf_, "geheim \xc3\xa4", recipe);
    EXPECT_TRUE(is_pkcs12(bytes));
    const Pkcs12 opened = read(bytes, "geheim \xc3\xa4");
    EXPECT_EQ(opened.password, Pkcs12::Password::right);
    ASSERT_EQ(opened.keys.size(), 1u);
    EXPECT_TRUE(opened.keys[0].matches(leaf_.certificate));
    ASSERT_EQ(opened.certificates.size(), 3u);
    EXPECT_EQ(opened.certificates[0], leaf_.certificate) << "the key's own comes first";
    // The key must live on when the context that opened the file is gone.
    EXPECT_FALSE(opened.keys[0].sign("x", {}).empty());
  }
}

TEST_F(Pkcs12Test, AWrongPasswordIsSaidAndNothingIsRead) {
  Pkcs12Recipe without_code;
  without_code.code_rounds = -1;
  for (const Bytes& bytes :
       {pkcs12_of(leaf_, "secret"), pkcs12_of(leaf_, "secret", without_code)}) {
    for (const std::optional<std::string_view> password :
         {std::optional<std::string_view>("Secret"), std::optional<std::string_view>(""),
          std::optional<std::string_view>()}) {
      const Pkcs12 opened = read(bytes, password);
      EXPECT_EQ(opened.password, Pkcs12::Password::wrong);
      EXPECT_TRUE(opened.keys.empty() && opened.certificates.empty());
    }
    EXPECT_EQ(read(bytes, "secret").password, Pkcs12::Password::right);
  }
}

TEST_F(Pkcs12Test, WithoutAPasswordItOpensWhateverIsGiven) {
  for (const char* empty : {static_cast<const char*>(nullptr), ""})
    for (const std::optional<std::string_view> password :
         {std::optional<std::string_view>("some"), std::optional<std::string_view>()}) {
      const Pkcs12 opened = read(pkcs12_of(leaf_, empty), password);
      EXPECT_EQ(opened.password, Pkcs12::Password::none_needed);
      EXPECT_EQ(opened.keys.size(), 1u);
    }
  Pkcs12Recipe without_code;
  without_code.code_rounds = -1;
  const Pkcs12 opened = read(pkcs12_of(leaf_, "", without_code), "some");
  EXPECT_EQ(opened.password, Pkcs12::Password::none_needed);
  EXPECT_EQ(opened.keys.size(), 1u);
}

// What a file asks for is looked at before any of it is done: 2^23 rounds would be seconds here.
TEST_F(Pkcs12Test, MoreRoundsThanTheLimitAreRefusedAndNotTried) {
  constexpr std::uint32_t kMany = 70'000, kTooMany = 0x7fffff;
  Pkcs12Recipe code, key, old, certificates;
  code.code_rounds = kMany;
  key.rounds = certificates.rounds = old.rounds = kMany;
  key.certificate_cipher = -1;
  key.code_rounds = certificates.code_rounds = old.code_rounds = -1;
  certificates.key_cipher = -1;
  old.key_cipher = NID_pbe_WithSHA1And3_Key_TripleDES_CBC;
  for (const Pkcs12Recipe& recipe : {code, key, certificates, old}) {
    const Bytes good = pkcs12_of(leaf_, "secret", recipe);
    EXPECT_EQ(read(good, "secret").password, Pkcs12::Password::right);
    const auto bomb = read_pkcs12(with_rounds(good, kMany, kTooMany), "secret");
    ASSERT_FALSE(bomb);
    EXPECT_EQ(bomb.error().code, Errc::invalid);
    EXPECT_THAT(bomb.error().message, HasSubstr("more than 5000000 rounds"));
    // All of a file together, not each part.
    EXPECT_FALSE(read_pkcs12(good, "secret", kMany - 1));
  }
}

TEST_F(Pkcs12Test, EveryCutFileIsDamagedAndNoChangedByteDoesHarm) {
  const Bytes whole = pkcs12_of(leaf_, "secret");
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    const auto cut = read_pkcs12(ByteView(whole).first(size), "secret");
    ASSERT_FALSE(cut) << size;
    EXPECT_EQ(cut.error().code, Errc::invalid);
  }
  Pkcs12Recipe recipe;
  recipe.code_rounds = -1;
  const Bytes open = pkcs12_of(leaf_, "", recipe);
  for (std::size_t at = 0; at < open.size(); ++at) {
    Bytes changed = open;
    changed[at] ^= std::byte{0x11};
    const auto read = read_pkcs12(changed, std::nullopt, 10'000);
    EXPECT_TRUE(read || !read.error().message.empty());
  }
}

}  // namespace
}  // namespace postern
