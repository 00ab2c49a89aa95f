#include "identity/pkcs12.h"

#include <openssl/pkcs12.h>
#include <openssl/provider.h>

#include <algorithm>

#include "identity/openssl.h"

namespace postern {
namespace {

using Pkcs12Ptr = std::unique_ptr<PKCS12, FreeWith<PKCS12_free>>;
using LibraryPtr = std::unique_ptr<OSSL_LIB_CTX, FreeWith<OSSL_LIB_CTX_free>>;
using ProviderPtr = std::unique_ptr<OSSL_PROVIDER, FreeWith<OSSL_PROVIDER_unload>>;
using PlainKeyPtr = std::unique_ptr<PKCS8_PRIV_KEY_INFO, FreeWith<PKCS8_PRIV_KEY_INFO_free>>;
using SafesPtr = std::unique_ptr<STACK_OF(PKCS7), decltype([](STACK_OF(PKCS7) * stack) {
                                   sk_PKCS7_pop_free(stack, PKCS7_free);
                                 })>;
using BagsPtr =
    std::unique_ptr<STACK_OF(PKCS12_SAFEBAG), decltype([](STACK_OF(PKCS12_SAFEBAG) * stack) {
                      sk_PKCS12_SAFEBAG_pop_free(stack, PKCS12_SAFEBAG_free);
                    })>;

constexpr const char* kExportAgain =
    "export it again with AES-256 and SHA-256 (openssl pkcs12 -export; Windows: "
    "Export-PfxCertificate "
    "-CryptoAlgorithmOption AES256_SHA256)";
constexpr int kNestedBagsMax = 4;

std::string name_of(const ASN1_OBJECT* object) {
  char text[80] = {};
  OBJ_obj2txt(text, sizeof text, object, 0);
  return text;
}

/// A private context: the old ciphers are fetched here and nowhere else in the process.
struct Library {
  LibraryPtr context;
  ProviderPtr common, old;

  Library() : context(OSSL_LIB_CTX_new()) {
    invariant(context != nullptr, "memory for a context of OpenSSL");
    common.reset(OSSL_PROVIDER_load(context.get(), "default"));
    invariant(common != nullptr, "OpenSSL has its default provider");
  }
  bool with_old_ciphers() {
    if (!old) old.reset(OSSL_PROVIDER_load(context.get(), "legacy"));
    return old != nullptr;
  }
};

/// What a way of encrypting costs, before it is tried.
struct Cost {
  std::uint64_t rounds = 0;
  bool needs_old_ciphers = false;
};

std::optional<std::uint64_t> rounds_of(const ASN1_INTEGER* value) {
  std::int64_t rounds = 0;
  if (value == nullptr || ASN1_INTEGER_get_int64(&rounds, value) != 1) {
    ERR_clear_error();
    return std::nullopt;
  }
  return rounds < 1 ? std::nullopt : std::optional(static_cast<std::uint64_t>(rounds));
}

template <auto kDecode, auto kFree>
auto parameter_of(const ASN1_TYPE* parameter) {
  using Type = std::remove_pointer_t<decltype(kDecode(nullptr, nullptr, 0))>;
  std::unique_ptr<Type, FreeWith<kFree>> decoded;
  if (parameter != nullptr && parameter->type == V_ASN1_SEQUENCE) {
    const unsigned char* at = parameter->value.sequence->data;
    decoded.reset(kDecode(nullptr, &at, parameter->value.sequence->length));
    ERR_clear_error();
  }
  return decoded;
}

std::unexpected<Error> too_costly() {
  return fail(Errc::invalid, "the PKCS#12 file asks for a number of rounds that cannot be read; {}",
              kExportAgain);
}

/// PBES2 with PBKDF2, as everybody writes it today.
Result<Cost> cost_of_pbes2(const ASN1_TYPE* parameter) {
  const auto scheme = parameter_of<d2i_PBE2PARAM, PBE2PARAM_free>(parameter);
  if (!scheme || scheme->keyfunc == nullptr || scheme->encryption == nullptr)
    return fail(Errc::invalid, "the PKCS#12 file is damaged: its encryption cannot be read");
  const ASN1_OBJECT* kind = nullptr;
  const void* value = nullptr;
  int type = 0;
  X509_ALGOR_get0(&kind, &type, &value, scheme->keyfunc);
  // scrypt would be bounded by memory only.
  if (OBJ_obj2nid(kind) != NID_id_pbkdf2)
    return fail(Errc::invalid, "the PKCS#12 file's password is hashed with {}; {}", name_of(kind),
                kExportAgain);
  const auto hashing = parameter_of<d2i_PBKDF2PARAM, PBKDF2PARAM_free>(scheme->keyfunc->parameter);
  const auto rounds = hashing ? rounds_of(hashing->iter) : std::nullopt;
  if (!rounds) return too_costly();
  const int cipher = OBJ_obj2nid(scheme->encryption->algorithm);
  const bool modern = cipher == NID_aes_128_cbc || cipher == NID_aes_192_cbc ||
                      cipher == NID_aes_256_cbc || cipher == NID_des_ede3_cbc;
  return Cost{*rounds, !modern};
}

Result<Cost> cost_of(const X509_ALGOR* how) {
  const ASN1_OBJECT* kind = nullptr;
  const void* value = nullptr;
  int type = 0;
  X509_ALGOR_get0(&kind, &type, &value, how);
  const int way = OBJ_obj2nid(kind);
  if (way == NID_pbes2) return cost_of_pbes2(how->parameter);
  const bool triple_des = way == NID_pbe_WithSHA1And3_Key_TripleDES_CBC ||
                          way == NID_pbe_WithSHA1And2_Key_TripleDES_CBC;
  const bool old = way == NID_pbe_WithSHA1And40BitRC2_CBC ||
                   way == NID_pbe_WithSHA1And128BitRC2_CBC || way == NID_pbe_WithSHA1And40BitRC4 ||
                   way == NID_pbe_WithSHA1And128BitRC4;
  if (!triple_des && !old)
    return fail(Errc::invalid, "the PKCS#12 file is encrypted with {}, which is not known here; {}",
                name_of(kind), kExportAgain);
  const auto hashing = parameter_of<d2i_PBEPARAM, PBEPARAM_free>(how->parameter);
  const auto rounds = hashing ? rounds_of(hashing->iter) : std::nullopt;
  if (!rounds) return too_costly();
  return Cost{*rounds, old};
}

/// Of the authentication code over the whole file; nothing when it has none.
Result<std::optional<std::uint64_t>> rounds_of_code(PKCS12* file) {
  if (PKCS12_mac_present(file) != 1) return std::nullopt;
  const X509_ALGOR* how = nullptr;
  const ASN1_INTEGER* rounds = nullptr;
  PKCS12_get0_mac(nullptr, &how, nullptr, &rounds, file);
  const ASN1_OBJECT* kind = nullptr;
  const void* value = nullptr;
  int type = 0;
  X509_ALGOR_get0(&kind, &type, &value, how);
  const int digest = OBJ_obj2nid(kind);
  constexpr int kKnown[] = {NID_sha1, NID_sha224, NID_sha256, NID_sha384, NID_sha512};
  if (std::find(std::begin(kKnown), std::end(kKnown), digest) == std::end(kKnown))
    return fail(Errc::invalid, "the PKCS#12 file is authenticated with {}, which is not known; {}",
                name_of(kind), kExportAgain);
  if (rounds == nullptr) return std::optional<std::uint64_t>(1);
  const auto number = rounds_of(rounds);
  if (!number) return too_costly();
  return number;
}

/// Reads one file; what it may cost is counted down.
class Opening {
 public:
  Opening(Library& library, PKCS12* file, std::uint64_t rounds_max)
      : library_(library), file_(file), rounds_max_(rounds_max), rounds_left_(rounds_max) {}

  Result<Pkcs12> run(std::optional<std::string_view> password) {
    auto code = rounds_of_code(file_);
    if (!code) return std::unexpected(code.error());
    if (!*code) return run_without_code(password);
    // PKCS#12 knows two empty passwords, none and one of no characters; both are in use.
    struct Try {
      const char* password;
      int size;
      Pkcs12::Password meaning;
    };
    std::vector<Try> tries;
    if (password && !password->empty())
      tries.push_back(
          {password->data(), static_cast<int>(password->size()), Pkcs12::Password::right});
    tries.push_back({nullptr, 0, Pkcs12::Password::none_needed});
    tries.push_back({"", 0, Pkcs12::Password::none_needed});
    for (const Try& one : tries) {
      if (auto paid = pay({**code, false}); !paid) return std::unexpected(paid.error());
      const bool fits = PKCS12_verify_mac(file_, one.password, one.size) == 1;
      ERR_clear_error();
      if (!fits) continue;
      password_ = one.password;
      password_size_ = one.size;
      found_.password = one.meaning;
      return contents();
    }
    return Pkcs12{};
  }

 private:
  /// A wrong password shows only where the decrypted is no ASN.1.
  Result<Pkcs12> run_without_code(std::optional<std::string_view> password) {
    if (password && !password->empty()) {
      auto read = contents_with(*password, Pkcs12::Password::right);
      if (read && !decrypted_) read->password = Pkcs12::Password::none_needed;
      if (!undecryptable_) return read;
    }
    auto read = contents_with("", Pkcs12::Password::none_needed);
    if (undecryptable_) return Pkcs12{};
    return read;
  }

  Result<Pkcs12> contents_with(std::string_view password, Pkcs12::Password meaning) {
    password_ = password.data();
    password_size_ = static_cast<int>(password.size());
    decrypted_ = undecryptable_ = false;
    found_ = {};
    found_.password = meaning;
    return contents();
  }

  Result<> pay(const Cost& cost) {
    if (cost.rounds > rounds_left_)
      return fail(
          Errc::invalid,
          "opening the PKCS#12 file takes more than {} rounds of hashing, the limit; export "
          "it again with fewer (100000 a part are plenty)",
          rounds_max_);
    rounds_left_ -= cost.rounds;
    if (cost.needs_old_ciphers && !library_.with_old_ciphers()) {
      ERR_clear_error();
      return fail(Errc::invalid,
                  "the PKCS#12 file is encrypted with an old cipher (RC2 or RC4), for which this "
                  "machine's OpenSSL lacks its legacy provider (Debian 13: the package "
                  "openssl-provider-legacy); {}",
                  kExportAgain);
    }
    return {};
  }

  Result<> pay_for(const X509_ALGOR* how) {
    const auto cost = cost_of(how);
    return cost ? pay(*cost) : std::unexpected(cost.error());
  }

  std::unexpected<Error> not_decrypted() {
    undecryptable_ = true;
    return fail(Errc::invalid, "a part of the PKCS#12 file cannot be decrypted ({}); {}",
                openssl_reason(), kExportAgain);
  }

  Result<Pkcs12> contents() {
    const SafesPtr safes(PKCS12_unpack_authsafes(file_));
    if (!safes) return damaged();
    for (int i = 0; i < sk_PKCS7_num(safes.get()); ++i) {
      PKCS7* safe = sk_PKCS7_value(safes.get(), i);
      BagsPtr bags;
      if (PKCS7_type_is_data(safe)) {
        bags.reset(PKCS12_unpack_p7data(safe));
        if (!bags) return damaged();
      } else if (PKCS7_type_is_encrypted(safe)) {
        if (safe->d.encrypted == nullptr || safe->d.encrypted->enc_data == nullptr ||
            safe->d.encrypted->enc_data->algorithm == nullptr)
          return damaged();
        if (auto paid = pay_for(safe->d.encrypted->enc_data->algorithm); !paid)
          return std::unexpected(paid.error());
        bags.reset(PKCS12_unpack_p7encdata(safe, password_, password_size_));
        if (!bags) return not_decrypted();
        decrypted_ = true;
      } else {
        continue;  // encrypted for a public key: not for us
      }
      if (auto done = take_all(bags.get(), 0); !done) return std::unexpected(done.error());
    }
    const auto own = std::find_if(
        found_.certificates.begin(), found_.certificates.end(), [&](const Certificate& one) {
          return std::any_of(found_.keys.begin(), found_.keys.end(),
                             [&](const TlsKey& key) { return key.matches(one); });
        });
    if (own != found_.certificates.end()) std::rotate(found_.certificates.begin(), own, own + 1);
    return std::move(found_);
  }

  std::unexpected<Error> damaged() {
    return fail(Errc::invalid, "the PKCS#12 file is damaged ({}); export it again",
                openssl_reason());
  }

  Result<> take_all(const STACK_OF(PKCS12_SAFEBAG) * bags, int depth) {
    for (int i = 0; i < sk_PKCS12_SAFEBAG_num(bags); ++i)
      if (auto done = take(sk_PKCS12_SAFEBAG_value(bags, i), depth); !done) return done;
    return {};
  }

  Result<> take(const PKCS12_SAFEBAG* bag, int depth) {
    switch (PKCS12_SAFEBAG_get_nid(bag)) {
      case NID_keyBag:
        return take_key(PKCS12_SAFEBAG_get0_p8inf(bag));
      case NID_pkcs8ShroudedKeyBag:
        return take_shrouded(bag);
      case NID_certBag:
        return take_certificate(bag);
      case NID_safeContentsBag:
        if (depth == kNestedBagsMax)
          return fail(Errc::invalid, "the PKCS#12 file has bags in bags, more than {} deep",
                      kNestedBagsMax);
        return take_all(PKCS12_SAFEBAG_get0_safes(bag), depth + 1);
      default:
        return {};  // CRLs and secrets
    }
  }

  Result<> take_shrouded(const PKCS12_SAFEBAG* bag) {
    const X509_SIG* sealed = PKCS12_SAFEBAG_get0_pkcs8(bag);
    if (sealed == nullptr) return damaged();
    const X509_ALGOR* how = nullptr;
    X509_SIG_get0(sealed, &how, nullptr);
    if (auto paid = pay_for(how); !paid) return paid;
    const PlainKeyPtr plain(
        PKCS12_decrypt_skey_ex(bag, password_, password_size_, library_.context.get(), nullptr));
    if (!plain) return not_decrypted();
    decrypted_ = true;
    return take_key(plain.get());
  }

  /// By its encoding: the key must not hang on to the private context.
  Result<> take_key(const PKCS8_PRIV_KEY_INFO* plain) {
    if (found_.keys.size() >= kPkcs12KeysMax)
      return fail(Errc::invalid, "the PKCS#12 file has more than {} private keys", kPkcs12KeysMax);
    Bytes der = plain == nullptr ? Bytes() : encoded(i2d_PKCS8_PRIV_KEY_INFO, plain);
    if (der.empty()) return damaged();
    auto key = TlsKey::from_der(der);
    OPENSSL_cleanse(der.data(), der.size());
    if (!key) return fail(key.error(), "the PKCS#12 file's private key");
    found_.keys.push_back(std::move(*key));
    return {};
  }

  Result<> take_certificate(const PKCS12_SAFEBAG* bag) {
    if (PKCS12_SAFEBAG_get_bag_nid(bag) != NID_x509Certificate) return {};
    if (found_.certificates.size() >= kCertificatesMax)
      return fail(Errc::invalid, "the PKCS#12 file has more than {} certificates",
                  kCertificatesMax);
    const X509Ptr native(PKCS12_SAFEBAG_get1_cert(bag));
    if (!native) return damaged();
    auto certificate = Certificate::from_der(encoded(i2d_X509, native.get()));
    if (!certificate) return fail(certificate.error(), "the PKCS#12 file's certificate");
    found_.certificates.push_back(std::move(*certificate));
    return {};
  }

  Library& library_;
  PKCS12* file_;
  const std::uint64_t rounds_max_;
  std::uint64_t rounds_left_;
  const char* password_ = nullptr;
  int password_size_ = 0;
  bool decrypted_ = false, undecryptable_ = false;
  Pkcs12 found_;
};

Pkcs12Ptr decoded(ByteView bytes, OSSL_LIB_CTX* context) {
  PKCS12* file = PKCS12_init_ex(NID_pkcs7_data, context, nullptr);
  invariant(file != nullptr, "memory for a PKCS#12 file");
  const unsigned char* at = unsigned_data(bytes);
  // When it fails it has freed what it was given.
  return Pkcs12Ptr(d2i_PKCS12(&file, &at, static_cast<long>(bytes.size())));
}

}  // namespace

bool is_pkcs12(ByteView bytes) {
  const unsigned char* at = unsigned_data(bytes);
  const Pkcs12Ptr parsed(d2i_PKCS12(nullptr, &at, static_cast<long>(bytes.size())));
  ERR_clear_error();
  return parsed != nullptr;
}

Result<Pkcs12> read_pkcs12(ByteView bytes, std::optional<std::string_view> password,
                           std::uint64_t rounds_max) {
  Library library;
  const Pkcs12Ptr file = decoded(bytes, library.context.get());
  if (!file) return fail(Errc::invalid, "not a readable PKCS#12 file ({})", openssl_reason());
  auto opened = Opening(library, file.get(), rounds_max).run(password);
  ERR_clear_error();
  return opened;
}

}  // namespace postern
