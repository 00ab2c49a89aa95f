#include "node/anchor_list.h"

#include <algorithm>

#include "identity/state_folder.h"
#include "node/self.h"
#include "wire/document.pb.h"

namespace postern::node {

Result<AnchorList> AnchorList::from_payload(ByteView payload) {
  wire::pb::AnchorList message;
  if (!message.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return fail(Errc::invalid, "a list of anchors that cannot be read");
  const auto anchors = static_cast<std::size_t>(message.anchors_size());
  const auto withdrawn = static_cast<std::size_t>(message.withdrawn_sha256_size());
  if (anchors == 0 || anchors > kAnchorsMax || withdrawn > kWithdrawnMax)
    return fail(Errc::invalid, "a list of {} anchors, {} withdrawn; the limits are 1 to {}, and {}",
                anchors, withdrawn, kAnchorsMax, kWithdrawnMax);
  AnchorList list;
  for (const auto& entry : message.anchors()) {
    auto certificate = Certificate::from_der(as_bytes(entry.certificate()));
    if (!certificate) return fail(certificate.error(), "an anchor in a list");
    if (!certificate->is_ca())
      return fail(Errc::invalid, "the anchor '{}' in a list is no CA", certificate->subject());
    list.anchors.push_back({std::move(*certificate), entry.retiring()});
  }
  for (const auto& digest : message.withdrawn_sha256()) {
    if (digest.size() != sizeof(Digest))
      return fail(Errc::invalid, "a fingerprint of {} bytes in a list of anchors", digest.size());
    list.withdrawn.push_back(digest_of_field(digest));
  }
  list.spread = std::chrono::seconds(message.spread_s());
  return list;
}

std::string AnchorList::payload() const {
  wire::pb::AnchorList message;
  for (const Anchor& anchor : anchors) {
    auto* entry = message.add_anchors();
    entry->set_certificate(field_of(anchor.certificate.der()));
    entry->set_retiring(anchor.retiring);
  }
  for (const Digest& digest : withdrawn) message.add_withdrawn_sha256(field_of(digest));
  message.set_spread_s(static_cast<std::uint32_t>(spread.count()));
  return message.SerializeAsString();
}

Result<Anchors> AnchorList::applied_to(const Anchors& own) const {
  std::vector<Certificate> all = own.certificates();
  for (const Anchor& anchor : anchors)
    if (std::ranges::find(all, anchor.certificate) == all.end()) all.push_back(anchor.certificate);
  std::erase_if(all, [this](const Certificate& certificate) {
    return std::ranges::find(withdrawn, certificate.fingerprint()) != withdrawn.end();
  });
  if (all.empty()) return fail(Errc::denied, "a list of anchors that leaves none");
  return Anchors::from_certificates(std::move(all));
}

bool AnchorList::leaves(const std::vector<Certificate>& chain, WallTime now) const {
  std::vector<Certificate> staying, retiring;
  for (const Anchor& anchor : anchors)
    (anchor.retiring ? retiring : staying).push_back(anchor.certificate);
  const auto leads_to = [&](std::vector<Certificate> some) {
    const auto to = Anchors::from_certificates(std::move(some));
    return to && chain_to_anchor(chain.front(), chain, *to, now).size() > 1;
  };
  return !chain.empty() && !retiring.empty() && !leads_to(staying) && leads_to(retiring);
}

Result<Anchors> install_anchors(const AnchorList& list, Disk& disk,
                                const std::filesystem::path& state) {
  StateFolder folder(disk, state);
  auto own = folder.anchors();
  if (!own) return own;
  auto wanted = list.applied_to(*own);
  if (!wanted || wanted->certificates() == own->certificates()) return wanted;
  if (auto done = folder.install_anchors(*wanted); !done) return std::unexpected(done.error());
  return wanted;
}

std::vector<std::string> differences(const Anchors& before, const Anchors& after) {
  std::vector<std::string> lines;
  const auto tell = [&](const Anchors& of, const Anchors& missing_in, const char* words) {
    for (const Certificate& one : of.certificates())
      if (std::ranges::find(missing_in.certificates(), one) == missing_in.certificates().end())
        lines.push_back(fmt::format("certificates of '{}' (serial {}) are trusted {}",
                                    one.subject(), one.serial(), words));
  };
  tell(after, before, "from now on");
  tell(before, after, "no more");
  return lines;
}

}  // namespace postern::node
