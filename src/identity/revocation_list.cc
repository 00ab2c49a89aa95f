#include "identity/revocation_list.h"

#include <openssl/pem.h>

#include <algorithm>

#include "identity/key.h"
#include "identity/openssl.h"

namespace postern {
namespace {

using CrlPtr = std::unique_ptr<X509_CRL, FreeWith<X509_CRL_free>>;

Digest name_digest(const X509_NAME* name) {
  const unsigned char* der = nullptr;
  std::size_t size = 0;
  if (X509_NAME_get0_der(name, &der, &size) != 1) return Digest{};
  return sha256({reinterpret_cast<const std::byte*>(der), size});
}

std::string name_words(const X509_NAME* name) {
  const BioPtr out = writing();
  if (X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253) < 0) ERR_clear_error();
  return written(out.get()).substr(0, 256);
}

std::optional<WallTime> time_of(const ASN1_TIME* time) {
  tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return std::nullopt;
  return wall_from_ms(static_cast<std::int64_t>(timegm(&parts)) * 1000);
}

std::string serial_of(const ASN1_INTEGER* serial) {
  const auto* data = reinterpret_cast<const std::byte*>(ASN1_STRING_get0_data(serial));
  return serial_text({data, static_cast<std::size_t>(ASN1_STRING_length(serial))});
}

/// Delta lists, lists of one distribution point, lists for other issuers: they say so critically.
bool is_partial(const X509_CRL* crl) {
  return X509_CRL_get_ext_by_critical(crl, 1, -1) >= 0 ||
         X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0;
}

Result<std::vector<CrlPtr>> lists_in(const std::string& file, ByteView bytes) {
  std::vector<CrlPtr> lists;
  if (bytes.empty())
    return fail(Errc::invalid, "{} is empty; it holds no certificate revocation list (CRL)", file);
  const bool pem = as_text(bytes).find("-----BEGIN ") != std::string_view::npos;
  const BioPtr in = reading(bytes);
  if (pem) {
    while (lists.size() <= kRevocationListsMax) {
      CrlPtr one(PEM_read_bio_X509_CRL(in.get(), nullptr, nullptr, nullptr));
      if (!one) break;
      lists.push_back(std::move(one));
    }
    const bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    const std::string why = openssl_reason();
    if (!ended) return fail(Errc::invalid, "{}: a list in it cannot be read: {}", file, why);
  } else if (CrlPtr one{d2i_X509_CRL_bio(in.get(), nullptr)}) {
    lists.push_back(std::move(one));
  }
  ERR_clear_error();
  if (lists.empty())
    return fail(Errc::invalid, "{} holds no certificate revocation list (CRL), in PEM or DER",
                file);
  if (lists.size() > kRevocationListsMax)
    return fail(Errc::exhausted, "{} holds more than {} lists", file, kRevocationListsMax);
  return lists;
}

/// Who may sign lists for the group: anchors, and what leads to them.
std::vector<Certificate> authorities(ByteView bytes, const Anchors& anchors,
                                     std::span<const Certificate> known, WallTime now) {
  std::vector<Certificate> pool(known.begin(), known.end());
  if (auto beside = certificates_from_pem(as_text(bytes)))
    pool.insert(pool.end(), beside->begin(), beside->end());
  std::vector<Certificate> trusted = anchors.certificates();
  for (const Certificate& one : pool)
    if (one.is_ca() && chain_to_anchor(one, pool, anchors, now).size() > 1) trusted.push_back(one);
  return trusted;
}

bool signed_by(X509_CRL* crl, const Certificate& issuer) {
  if ((X509_get_key_usage(issuer.native()) & KU_CRL_SIGN) == 0) return false;
  const bool verifies = X509_CRL_verify(crl, X509_get0_pubkey(issuer.native())) == 1;
  ERR_clear_error();
  return verifies;
}

Result<RevocationList> decode(const std::string& file, X509_CRL* crl,
                              const std::vector<Certificate>& issuers) {
  RevocationList list;
  list.file = file;
  list.issuer = name_words(X509_CRL_get_issuer(crl));
  list.issuer_sha256 = name_digest(X509_CRL_get_issuer(crl));
  if (is_partial(crl))
    return fail(Errc::invalid,
                "{}: the list of '{}' is only a part of what it has revoked (a delta, or of one "
                "distribution point); take its complete list",
                file, list.issuer);
  const bool named = std::ranges::any_of(
      issuers, [&](const Certificate& one) { return one.subject_sha256() == list.issuer_sha256; });
  if (!named)
    return fail(Errc::denied,
                "{}: the list is of '{}', which is no authority of the group; put its certificate "
                "into the file, beside the list",
                file, list.issuer);
  const bool believed = std::ranges::any_of(issuers, [&](const Certificate& one) {
    return one.subject_sha256() == list.issuer_sha256 && signed_by(crl, one);
  });
  if (!believed)
    return fail(Errc::denied, "{}: the list is not signed by '{}', or that may not sign lists",
                file, list.issuer);
  const auto from = time_of(X509_CRL_get0_lastUpdate(crl));
  if (!from) return fail(Errc::invalid, "{}: the list of '{}' has no time", file, list.issuer);
  list.this_update = *from;
  list.next_update = time_of(X509_CRL_get0_nextUpdate(crl));
  const STACK_OF(X509_REVOKED)* revoked = X509_CRL_get_REVOKED(crl);
  for (int i = 0; revoked != nullptr && i < sk_X509_REVOKED_num(revoked); ++i)
    list.serials.push_back(
        serial_of(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(revoked, i))));
  std::sort(list.serials.begin(), list.serials.end());
  return list;
}

}  // namespace

bool RevocationList::lists(std::string_view serial) const {
  return !serial.empty() && std::binary_search(serials.begin(), serials.end(), serial);
}

Result<std::vector<RevocationList>> read_revocation_lists(const std::string& file, ByteView bytes,
                                                          const Anchors& anchors,
                                                          std::span<const Certificate> known,
                                                          WallTime now) {
  auto found = lists_in(file, bytes);
  if (!found) return std::unexpected(found.error());
  const std::vector<Certificate> issuers = authorities(bytes, anchors, known, now);
  std::vector<RevocationList> lists;
  for (const CrlPtr& crl : *found) {
    auto list = decode(file, crl.get(), issuers);
    if (!list) return std::unexpected(list.error());
    lists.push_back(std::move(*list));
  }
  return lists;
}

const RevocationList* RevocationLists::find(const CertificateMark& certificate) const {
  const auto found = std::ranges::find_if(lists_, [&](const RevocationList& list) {
    return list.issuer_sha256 == certificate.issuer && list.lists(certificate.serial);
  });
  return found == lists_.end() ? nullptr : &*found;
}

std::optional<Finding> RevocationLists::objection(std::span<const Certificate> chain,
                                                  WallTime now) const {
  for (const Certificate& one : chain) {
    if (const RevocationList* list = find(one.mark()))
      return Finding{
          Reason::revoked, "revocation", false,
          fmt::format("is revoked: '{}' (serial {}) stands in the list that '{}' issued "
                      "at {}; have another one issued for a new key",
                      one.subject(), one.serial(), list->issuer, to_rfc3339(list->this_update))};
    if (when_stale_ == WhenStale::warn) continue;
    const RevocationList* stale = nullptr;
    bool fresh = false;
    for (const RevocationList& list : lists_) {
      if (list.issuer_sha256 != one.mark().issuer) continue;
      if (list.stale(now))
        stale = &list;
      else
        fresh = true;
    }
    if (stale != nullptr && !fresh)
      return Finding{Reason::stale_revocation_list, "revocation", false,
                     fmt::format("is issued by '{}', whose revocation list in {} should have been "
                                 "replaced by {}; fetch the new one, or set certificates: "
                                 "{{stale_crl: warn}}",
                                 stale->issuer, stale->file, to_rfc3339(*stale->next_update))};
  }
  return std::nullopt;
}

}  // namespace postern
