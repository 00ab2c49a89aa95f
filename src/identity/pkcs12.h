#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "identity/certificate.h"

namespace postern {

/// Rounds of hashing that one file may cost, over all its parts and all tries: some seconds. What
/// Windows, browsers, Java and OpenSSL write stays below a million a part.
inline constexpr std::uint64_t kPkcs12RoundsMax = 5'000'000;
inline constexpr std::size_t kPkcs12KeysMax = 16;

/// What a PKCS#12 file (.p12, .pfx) holds.
struct Pkcs12 {
  enum class Password {
    none_needed,  // it opens with an empty one
    right,
    wrong,  // nothing was read; without a password given: one is needed
  };
  Password password = Password::wrong;
  std::vector<TlsKey> keys;
  std::vector<Certificate> certificates;  // that of a key first
};

/// Whether the bytes have the outer form of a PKCS#12 file.
bool is_pkcs12(ByteView bytes);

/// Opens it with `password`, or with an empty one when that does not fit or there is none. Files
/// whose contents are encrypted the old ways (RC2, RC4, 3DES) are read too, by a context of OpenSSL
/// of their own; nothing else gets to use those. `invalid` when the file is damaged, encrypted in a
/// way that is not known, or would cost more than `rounds_max`; the words say how to make another.
Result<Pkcs12> read_pkcs12(ByteView bytes, std::optional<std::string_view> password,
                           std::uint64_t rounds_max = kPkcs12RoundsMax);

}  // namespace postern
