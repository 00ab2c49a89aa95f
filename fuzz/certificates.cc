// Certificates and keys as somebody hands them to us: PEM and DER, before they are believed.

#include "fuzz/target.h"
#include "identity/check.h"
#include "identity/group_file.h"
#include "identity/test_certificates.h"

namespace postern::fuzz {
namespace {

using testing_support::Issued;

const Issued& authority() {
  static const Issued made = testing_support::make(testing_support::authority_recipe("Root"));
  return made;
}
const Anchors& anchors() {
  static const Anchors made = Anchors::from_certificates({authority().certificate}).value();
  return made;
}

void check_certificate(const Certificate& certificate) {
  const auto again = Certificate::from_der(certificate.der());
  claim(again && again->fingerprint() == certificate.fingerprint(), "DER comes back as it was");
  const auto pem = Certificate::from_pem(certificate.pem());
  claim(pem && pem->fingerprint() == certificate.fingerprint(), "so does PEM");
  (void)certificate.subject();
  (void)certificate.serial();
  (void)certificate.is_self_signed();
  const auto wrong =
      why_refused(std::span(&certificate, 1), anchors(),
                  {.now = wall_from_ms(1'800'000'000'000), .name = "gw1.site.example"});
  claim(wrong.has_value(), "a certificate that the group did not sign is refused");
  claim(wrong->reason != Reason::ok && !wrong->words.empty(), "with its reason");
}

}  // namespace

void one_input(ByteView bytes) {
  const std::string_view text = as_text(bytes);
  if (auto certificate = Certificate::from_der(bytes)) check_certificate(*certificate);
  if (auto list = certificates_from_pem(text))
    for (const Certificate& certificate : *list) check_certificate(certificate);
  if (auto key = TlsKey::from_pem(text)) (void)key->kind_text();
  if (auto key = TlsKey::from_der(bytes)) (void)key->kind_text();
  if (auto key = PublicKey::from_spki(bytes))
    claim(std::ranges::equal(key->spki(), bytes), "a public key has one encoding");
  if (auto key = PublicKey::from_pem(text)) (void)key->fingerprint();
  if (auto some = Anchors::from_pem(text)) claim(!some->certificates().empty(), "at least one");
  if (auto group = parse_group_file(text)) {
    claim(!group->servers.empty() && group->servers.size() <= kGroupServersMax, "within limits");
    const auto again = parse_group_file(encode_group_file(*group));
    claim(again && again->name == group->name && again->servers == group->servers &&
              root_fingerprint(again->root) == root_fingerprint(group->root),
          "a group file comes back as it was");
  }
}

std::vector<Bytes> seeds() {
  // Signed by nobody we know: what the group signed would rightly be believed.
  const Issued stranger = testing_support::make(testing_support::authority_recipe("Stranger"));
  const Issued leaf = testing_support::make({}, &stranger);
  const GroupFile group{"corp",
                        {{"ms1.home.example", "192.0.2.1:5723"}},
                        PrivateKey::generate().public_key(),
                        Anchors::from_certificates({stranger.certificate}).value()};
  const auto key = TlsKey::from_pem(private_key_pem(leaf.key.get())).value();
  return {to_bytes(leaf.certificate.der()),
          to_bytes(leaf.certificate.pem() + stranger.certificate.pem()),
          to_bytes(private_key_pem(leaf.key.get())),
          to_bytes(PrivateKey::generate().public_key().spki()), to_bytes(encode_group_file(group))};
}

}  // namespace postern::fuzz
