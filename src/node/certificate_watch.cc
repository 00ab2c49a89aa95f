#include "node/certificate_watch.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <array>
#include <utility>

namespace postern::node {

std::string state_of_certificate(const std::filesystem::path& state,
                                 const std::vector<std::string>& others) {
  constexpr std::array<const char*, 3> kFiles = {"tls/key.pem", "tls/chain.pem", "anchors.pem"};
  struct stat status {};
  if (::stat((state / "tls/next/chain.pem").c_str(), &status) == 0) return "";
  std::vector<std::string> files = others;
  for (const char* file : kFiles) files.push_back((state / file).string());
  std::string all;
  for (const std::string& file : files)
    if (::stat(file.c_str(), &status) == 0)
      all += fmt::format("{} {} {} {}.{:09};", status.st_dev, status.st_ino, status.st_size,
                         status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  return all;
}

CertificateWatch::CertificateWatch(Loop& core, Worker& worker, std::filesystem::path state,
                                   std::vector<std::string> others, std::function<void()> changed)
    : core_(core),
      worker_(worker),
      state_(std::move(state)),
      others_(std::move(others)),
      changed_(std::move(changed)),
      known_(state_of_certificate(state_, others_)) {
  timer_ = core_.after(kEvery, [this] { look(); });
}

CertificateWatch::~CertificateWatch() { *alive_ = false; }

void CertificateWatch::look() {
  timer_ = core_.after(kEvery, [this] { look(); });
  if (std::exchange(looking_, true)) return;
  worker_.post([this, &core = core_, alive = alive_, state = state_, others = others_] {
    core.post([this, alive, found = state_of_certificate(state, others)] {
      if (!*alive) return;
      looking_ = false;
      if (found.empty() || found == known_) return;
      known_ = found;
      changed_();
    });
  });
}

}  // namespace postern::node
