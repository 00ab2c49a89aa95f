#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "store/store.h"

namespace postern {

/// The certificates that count no more, found by what a certificate is denied by. A value.
class Revocations {
 public:
  Revocations() = default;
  explicit Revocations(std::vector<store::Revocation> all) : all_(std::move(all)) {
    for (std::size_t i = 0; i < all_.size(); ++i) {
      const CertificateMark& one = all_[i].certificate;
      if (one.tls_key != Digest{}) keys_.emplace(one.tls_key, i);
      if (!one.serial.empty()) serials_.emplace(std::pair(one.serial, one.issuer), i);
    }
  }

  /// By key, or by issuer and serial; null: it is not revoked.
  const store::Revocation* find(const CertificateMark& certificate) const {
    if (const auto key = keys_.find(certificate.tls_key); key != keys_.end())
      return &all_[key->second];
    for (const Digest& issuer : {certificate.issuer, Digest{}})
      if (const auto serial = serials_.find({certificate.serial, issuer}); serial != serials_.end())
        return &all_[serial->second];
    return nullptr;
  }
  const std::vector<store::Revocation>& all() const { return all_; }  // oldest first

 private:
  std::vector<store::Revocation> all_;
  std::map<Digest, std::size_t> keys_;
  std::map<std::pair<std::string, Digest>, std::size_t> serials_;
};

}  // namespace postern
