// PKCS#12 files as somebody hands them to us, opened with passwords of which one may be theirs.

#include "identity/pkcs12.h"

#include "fuzz/target.h"
#include "identity/test_pkcs12.h"

namespace postern::fuzz {
namespace {

// An input that may cost seconds would find nothing more.
constexpr std::uint64_t kRoundsMax = 5'000;

void check(const Pkcs12& opened) {
  if (opened.password == Pkcs12::Password::wrong)
    claim(opened.keys.empty() && opened.certificates.empty(), "what is not opened gives nothing");
  claim(opened.keys.size() <= kPkcs12KeysMax && opened.certificates.size() <= kCertificatesMax,
        "within limits");
  for (const TlsKey& key : opened.keys)
    claim(TlsKey::from_pem(key.to_pem()).has_value(), "a key that was read can be written");
  for (const Certificate& certificate : opened.certificates)
    claim(Certificate::from_der(certificate.der()) == certificate, "DER comes back as it was");
}

}  // namespace

void one_input(ByteView bytes) {
  for (const std::optional<std::string_view> password :
       {std::optional<std::string_view>("secret"), std::optional<std::string_view>()}) {
    const auto opened = read_pkcs12(bytes, password, kRoundsMax);
    if (opened) {
      check(*opened);
      claim(is_pkcs12(bytes), "what opens has the form");
    } else {
      claim(!opened.error().message.empty(), "a refusal has words");
    }
  }
}

std::vector<Bytes> seeds() {
  using testing_support::pkcs12_of;
  const auto root = testing_support::make(testing_support::authority_recipe("Root"));
  const auto leaf = testing_support::make({}, &root);
  testing_support::Pkcs12Recipe modern, old, plain;
  modern.more = {root.certificate};
  old.key_cipher = NID_pbe_WithSHA1And3_Key_TripleDES_CBC;
  old.certificate_cipher = NID_pbe_WithSHA1And40BitRC2_CBC;
  plain.key_cipher = plain.certificate_cipher = -1;
  std::vector<Bytes> made;
  for (auto recipe : {modern, old, plain})
    // No input finds the right code by chance: what is behind it is reached where there is none.
    for (const int code_rounds : {1, -1}) {
      recipe.code_rounds = code_rounds;
      made.push_back(pkcs12_of(leaf, "secret", recipe));
      made.push_back(pkcs12_of(leaf, "", recipe));
    }
  for (const Bytes& bytes : made)
    claim(read_pkcs12(bytes, "secret", kRoundsMax)->keys.size() == 1, "a seed is opened");
  return made;
}

}  // namespace postern::fuzz
