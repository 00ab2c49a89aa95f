#include "sim/watched_disk.h"

namespace postern::sim {

class WatchedDisk::WatchedFile final : public File {
 public:
  WatchedFile(WatchedDisk& disk, std::string path, std::unique_ptr<File> file)
      : disk_(disk), path_(std::move(path)), file_(std::move(file)) {}

  Result<> write_at(std::uint64_t offset, ByteView bytes) override {
    auto written = disk_.told(file_->write_at(offset, bytes));
    if (written) disk_.watcher_.on_write(path_, bytes);
    return written;
  }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    return disk_.told(file_->read_at(offset, out));
  }
  Result<> sync() override {
    auto synced = disk_.told(file_->sync());
    if (synced) disk_.watcher_.on_sync(path_);
    return synced;
  }
  Result<std::uint64_t> size() const override { return disk_.told(file_->size()); }
  Result<> truncate(std::uint64_t size) override { return disk_.told(file_->truncate(size)); }

 private:
  WatchedDisk& disk_;
  const std::string path_;
  const std::unique_ptr<File> file_;
};

Result<std::unique_ptr<File>> WatchedDisk::open(const std::filesystem::path& path, Open how) {
  auto file = told(disk_->open(path, how));
  if (!file) return file;
  return std::make_unique<WatchedFile>(*this, path.string(), std::move(*file));
}

Result<> WatchedDisk::rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  auto renamed = told(disk_->rename(from, to));
  if (renamed) watcher_.on_remove(from.string());
  return renamed;
}

Result<> WatchedDisk::remove(const std::filesystem::path& path) {
  auto removed = told(disk_->remove(path));
  if (removed) watcher_.on_remove(path.string());
  return removed;
}

void WatchedDisk::collect(const std::filesystem::path& folder, Files& into) {
  auto names = disk_->list(folder);
  if (!names) return;
  for (const std::string& name : *names) {
    const auto path = folder / name;
    auto file = disk_->open(path, Open::read);
    if (file)
      into[path.string()] = disk_->contents(path);
    else
      collect(path, into);
  }
}

WatchedDisk::Files WatchedDisk::files() {
  Files found;
  collect("/", found);
  return found;
}

void WatchedDisk::replace(std::uint64_t seed, const Files& files) {
  disk_ = std::make_unique<FakeDisk>(seed);
  for (const auto& [path, bytes] : files) {
    const auto folder = std::filesystem::path(path).parent_path();
    auto made = disk_->make_directories(folder);
    disk_->set_contents(path, bytes);
  }
}

}  // namespace postern::sim
