#include "node/revocation_files.h"

namespace postern::node {

bool RevocationFiles::read(Disk& disk, const CertificateSettings& settings, const Anchors& anchors,
                           std::span<const Certificate> chain, WallTime now) {
  std::map<std::string, std::vector<RevocationList>> files;
  for (const std::string& file : settings.crl) {
    auto bytes = disk.read_file(file, kRevocationFileBytesMax);
    auto lists = bytes ? read_revocation_lists(file, *bytes, anchors, chain, now)
                       : std::unexpected(bytes.error());
    const std::string complaint = lists ? "" : lists.error().message;
    const bool known = files_.contains(file);
    if (std::exchange(complaints_[file], complaint) != complaint && !lists)
      log_.error("a revocation list is not taken: {}; {}", complaint,
                 known ? "what it said before goes on counting"
                       : "nobody is refused by it until it can be read");
    if (lists)
      files[file] = std::move(*lists);
    else if (known)
      files[file] = files_[file];
  }
  const bool changed =
      files != files_ || refuse_ != settings.refuse_on_stale_crl || (!lists_ && !files.empty());
  if (!changed) return false;
  for (const auto& [file, lists] : files) {
    if (const auto before = files_.find(file); before != files_.end() && before->second == lists)
      continue;
    std::size_t revoked = 0;
    for (const RevocationList& list : lists) revoked += list.serials.size();
    log_.info("{}: {} certificates are revoked by {} list(s)", file, revoked, lists.size());
  }
  files_ = std::move(files);
  refuse_ = settings.refuse_on_stale_crl;
  std::vector<RevocationList> all;
  for (const auto& [file, lists] : files_) all.insert(all.end(), lists.begin(), lists.end());
  lists_ = all.empty() ? nullptr
                       : std::make_shared<const RevocationLists>(
                             std::move(all), refuse_ ? RevocationLists::WhenStale::refuse
                                                     : RevocationLists::WhenStale::warn);
  return true;
}

void RevocationFiles::say_stale(WallTime now) {
  for (const auto& [file, lists] : files_)
    for (const RevocationList& list : lists) {
      if (!list.stale(now)) continue;
      const auto said = stale_said_.find(file);
      if (said != stale_said_.end() && now - said->second < kStaleListSaidEvery &&
          now >= said->second)
        continue;
      stale_said_[file] = now;
      log_.warning("{}: the list of '{}' should have been replaced by {}; {}", file, list.issuer,
                   to_rfc3339(*list.next_update),
                   refuse_ ? "what it issued is refused (certificates: {stale_crl: refuse})"
                           : "it goes on counting as it is");
    }
}

WallTime RevocationFiles::next_update(WallTime now) const {
  WallTime next = WallTime::max();
  for (const auto& [file, lists] : files_)
    for (const RevocationList& list : lists)
      if (list.next_update && *list.next_update >= now) next = std::min(next, *list.next_update);
  return next;
}

}  // namespace postern::node
