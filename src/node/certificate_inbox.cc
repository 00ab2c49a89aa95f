#include "node/certificate_inbox.h"

#include <sys/stat.h>

#include <algorithm>

#include "identity/state_folder.h"

namespace postern::node {
namespace {

/// Tells apart what the folder holds now and at another time; empty when there is nothing.
std::string state_of_folder(Disk& disk, const std::filesystem::path& folder) {
  auto names = disk.list(folder);
  if (!names) return {};
  std::ranges::sort(*names);
  std::string all;
  for (const std::string& name : *names) {
    struct stat status {};
    if (::stat((folder / name).c_str(), &status) == 0)
      all += fmt::format("{} {} {} {}.{:09} {:o};", name, status.st_ino, status.st_size,
                         status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_mode);
  }
  return all;
}

}  // namespace

Result<std::optional<ImportReport>> take_from_inbox(Disk& disk,
                                                    const CertificateInbox::Places& places,
                                                    WallTime now) {
  const ImportRequest request{places.name, places.folder, places.state, now};
  auto found = examine_certificate(disk, request);
  if (!found) return std::unexpected(found.error());
  if (!found->certificate) return fail(Errc::unavailable, "no certificate of {}", places.name);
  if (auto chain = StateFolder(disk, places.state).chain();
      chain && !chain->empty() && chain->front().not_after() >= found->certificate->not_after())
    return std::optional<ImportReport>();
  auto installed = import_certificate(disk, request);
  if (!installed) return std::unexpected(installed.error());
  return std::optional(std::move(*installed));
}

CertificateInbox::CertificateInbox(Loop& core, Worker& worker, Disk& disk, const Clock& clock,
                                   const Log& log, Places places)
    : core_(core),
      worker_(worker),
      disk_(disk),
      clock_(clock),
      log_(log),
      places_(std::move(places)) {
  timer_ = core_.after(Duration(0), [this] { look(); });
}

CertificateInbox::~CertificateInbox() { *alive_ = false; }

void CertificateInbox::look() {
  timer_ = core_.after(kEvery, [this] { look(); });
  if (std::exchange(looking_, true)) return;
  worker_.post([this, &core = core_, &disk = disk_, &clock = clock_, &log = log_, places = places_,
                known = known_, alive = alive_] {
    const std::string now_there = state_of_folder(disk, places.folder);
    if (now_there != *known) {
      *known = now_there;
      const auto taken = take_from_inbox(disk, places, clock.wall());
      if (!taken && !now_there.empty())
        log.warning("nothing is taken over from {}: {}", places.folder.string(),
                    taken.error().message);
      if (taken && *taken)
        log.info("the certificate in {} is installed", (*taken)->certificate_file.string());
    }
    core.post([this, alive] {
      if (*alive) looking_ = false;
    });
  });
}

}  // namespace postern::node
