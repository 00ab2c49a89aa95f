#include "lossyfs/unsynced.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "base/invariant.h"

namespace postern {
namespace {

struct stat status_of(int file) {
  struct stat status {};
  invariant(::fstat(file, &status) == 0, "fstat of a file that is open");
  return status;
}

std::uint64_t size_of(int file) { return static_cast<std::uint64_t>(status_of(file).st_size); }

/// One block of a file, as much as there is of it before `end`.
Bytes read_block(int file, std::uint64_t block, std::uint64_t end) {
  const std::uint64_t offset = block * kBlockBytes;
  Bytes bytes(offset < end ? std::min(kBlockBytes, end - offset) : 0);
  const auto got = ::pread(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
  invariant(got >= 0, "the backing folder can be read");
  bytes.resize(static_cast<std::size_t>(got));
  return bytes;
}

/// What may stand in a block after power failed, `newer` having been written over `older`.
Bytes torn(const Bytes& older, const Bytes& newer, Random& random) {
  Bytes mixed = older;
  const std::size_t sectors = kBlockBytes / kSectorBytes;
  // One is old and one is new in any case.
  const std::uint64_t first_old = random.below(sectors), first_new = random.below(sectors);
  for (std::size_t sector = 0; sector < sectors; ++sector) {
    const bool newly = sector == first_new || (sector != first_old && random.below(2) == 1);
    const auto begin = static_cast<std::ptrdiff_t>(sector * kSectorBytes);
    if (newly) std::copy_n(newer.begin() + begin, kSectorBytes, mixed.begin() + begin);
  }
  return mixed;
}

}  // namespace

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

Unsynced::Unsynced(std::string root, std::string graves)
    : root_(std::move(root)), graves_(std::move(graves)) {}

Unsynced::~Unsynced() {
  for (const auto& [inode, state] : files_) ::close(state.file);
}

// ---- the bytes of files

Unsynced::FileState& Unsynced::state_of(int file) {
  const struct stat status = status_of(file);
  const auto [found, is_new] = files_.try_emplace(status.st_ino);
  if (is_new) {
    found->second.file = ::fcntl(file, F_DUPFD_CLOEXEC, 0);
    invariant(found->second.file >= 0, "a descriptor is to be had");
    found->second.number = ++states_made_;
    found->second.synced_bytes = static_cast<std::uint64_t>(status.st_size);
  }
  return found->second;
}

void Unsynced::save(FileState& state, std::uint64_t block) {
  if (state.dirty.contains(block)) return;
  // What a failed sync left behind is under way to the disk again.
  if (auto known = state.dropped.extract(block)) {
    state.dirty.insert(std::move(known));
    return;
  }
  state.dirty.emplace(block, read_block(state.file, block, state.synced_bytes));
}

void Unsynced::before_write(int file, std::uint64_t offset, std::uint64_t length) {
  FileState& state = state_of(file);
  if (length == 0) return;
  for (std::uint64_t block = offset / kBlockBytes; block <= (offset + length - 1) / kBlockBytes;
       ++block)
    save(state, block);
}

void Unsynced::before_resize(int file, std::uint64_t size) {
  FileState& state = state_of(file);
  const std::uint64_t now = size_of(file);
  for (std::uint64_t block = size / kBlockBytes; block * kBlockBytes < now; ++block)
    save(state, block);
}

void Unsynced::synced(int file) {
  const auto found = files_.find(status_of(file).st_ino);
  if (found == files_.end()) return;
  FileState& state = found->second;
  if (state.dropped.empty()) return forget(found);
  state.dirty.clear();
  state.synced_bytes = size_of(file);
}

void Unsynced::sync_failed(int file) {
  const auto found = files_.find(status_of(file).st_ino);
  if (found == files_.end()) return;
  FileState& state = found->second;
  state.dropped.merge(state.dirty);
  state.dirty.clear();
}

void Unsynced::forget(std::map<ino_t, FileState>::iterator state) {
  ::close(state->second.file);
  files_.erase(state);
}

// ---- the entries of folders

void Unsynced::created(const std::string& path) {
  changes_.push_back({Change::Kind::created, folder_of(path), path, {}, {}});
}

int Unsynced::remove(const std::string& path) {
  const std::string grave = graves_ + "/" + std::to_string(++graves_made_);
  if (::rename(full(path).c_str(), grave.c_str()) != 0) return errno;
  changes_.push_back({Change::Kind::removed, folder_of(path), path, {}, grave});
  return 0;
}

int Unsynced::rename(const std::string& from, const std::string& to, bool replace) {
  // One folder's order is not another's: what lies in between is not modelled.
  if (folder_of(from) != folder_of(to)) return EXDEV;
  if (from == to) return 0;
  struct stat source {
  }, target{};
  if (::lstat(full(from).c_str(), &source) != 0) return errno;
  std::string grave;
  if (::lstat(full(to).c_str(), &target) == 0) {
    if (!replace) return EEXIST;
    if (S_ISDIR(source.st_mode) != S_ISDIR(target.st_mode))
      return S_ISDIR(target.st_mode) ? EISDIR : ENOTDIR;
    if (S_ISDIR(target.st_mode) && !std::filesystem::is_empty(full(to))) return ENOTEMPTY;
    grave = graves_ + "/" + std::to_string(++graves_made_);
    if (::rename(full(to).c_str(), grave.c_str()) != 0) return errno;
  }
  if (::rename(full(from).c_str(), full(to).c_str()) != 0) {
    const int error = errno;
    if (!grave.empty()) std::rename(grave.c_str(), full(to).c_str());
    return error;
  }
  if (S_ISDIR(source.st_mode)) move_changes(from, to);
  changes_.push_back({Change::Kind::renamed, folder_of(to), to, from, grave});
  return 0;
}

/// A folder has another path now: so have the changes in it.
void Unsynced::move_changes(const std::string& from, const std::string& to) {
  const auto moved = [&](std::string& path) {
    if (path == from || path.starts_with(from + "/")) path.replace(0, from.size(), to);
  };
  for (Change& change : changes_) {
    if (change.folder != from && !change.folder.starts_with(from + "/")) continue;
    moved(change.folder);
    moved(change.path);
    moved(change.from);
  }
}

void Unsynced::bury(const std::string& grave) {
  struct stat status {};
  if (grave.empty() || ::lstat(grave.c_str(), &status) != 0) return;
  if (const auto state = files_.find(status.st_ino); state != files_.end()) forget(state);
  std::error_code ignored;
  std::filesystem::remove_all(grave, ignored);
}

void Unsynced::folder_synced(const std::string& folder) {
  std::erase_if(changes_, [&](const Change& change) {
    if (change.folder != folder) return false;
    bury(change.grave);
    return true;
  });
}

void Unsynced::all_synced() {
  for (const Change& change : changes_) bury(change.grave);
  changes_.clear();
  while (!files_.empty()) forget(files_.begin());
}

// ---- loss

Loss Unsynced::lose(Random& random) {
  Loss loss;
  // Inode numbers differ from run to run.
  std::map<std::uint64_t, FileState*> in_order;
  for (auto& [inode, state] : files_) in_order.emplace(state.number, &state);
  for (const auto& [number, state] : in_order) lose_blocks(*state, random, loss);

  // How many of each folder's changes survive.
  std::map<std::string, std::uint64_t> left;
  for (const Change& change : changes_) ++left[change.folder];
  for (auto& [folder, count] : left) count = random.below(count + 1);
  std::vector<bool> survives;
  for (const Change& change : changes_) {
    std::uint64_t& count = left[change.folder];
    survives.push_back(count > 0);
    count -= count > 0 ? 1 : 0;
  }
  for (std::size_t at = changes_.size(); at-- > 0;) {
    const Change change = changes_[at];  // undoing renames the folders of others
    ++(survives[at] ? loss.entries_kept : loss.entries_lost);
    if (!survives[at]) undo(change);
  }
  all_synced();
  return loss;
}

void Unsynced::undo(const Change& change) {
  std::error_code ignored;  // an outer folder may be gone altogether
  if (change.kind == Change::Kind::created) {
    std::filesystem::remove_all(full(change.path), ignored);
    return;
  }
  if (change.kind == Change::Kind::renamed) {
    std::filesystem::rename(full(change.path), full(change.from), ignored);
    move_changes(change.path, change.from);
  }
  if (!change.grave.empty()) std::filesystem::rename(change.grave, full(change.path), ignored);
}

void Unsynced::lose_blocks(FileState& state, Random& random, Loss& loss) {
  state.dropped.merge(state.dirty);
  const std::uint64_t newest = size_of(state.file);
  const std::uint64_t least = std::min(newest, state.synced_bytes);
  const std::uint64_t most = std::max(newest, state.synced_bytes);
  std::uint64_t size = state.synced_bytes;
  switch (random.below(3)) {
    case 0:
      break;
    case 1:
      size = newest;
      break;
    default:
      size = least + random.below(most - least + 1);
      break;
  }
  std::map<std::uint64_t, Bytes> outcome;
  for (auto& [block, saved] : state.dropped) {
    Bytes newer = read_block(state.file, block, newest);
    // Where the file has become shorter, nothing newer was ever written.
    if (newer.size() < saved.size())
      newer.insert(newer.end(), saved.begin() + static_cast<std::ptrdiff_t>(newer.size()),
                   saved.end());
    newer.resize(kBlockBytes);
    saved.resize(kBlockBytes);
    switch (random.below(3)) {
      case 0:
        ++loss.lost;
        outcome.emplace(block, saved);
        break;
      case 1:
        ++loss.kept;
        outcome.emplace(block, newer);
        break;
      default:
        ++loss.torn;
        outcome.emplace(block, torn(saved, newer, random));
        break;
    }
  }
  invariant(::ftruncate(state.file, static_cast<off_t>(size)) == 0, "the backing folder has room");
  for (const auto& [block, bytes] : outcome) {
    const std::uint64_t offset = block * kBlockBytes;
    if (offset >= size) continue;
    const std::size_t length = std::min(kBlockBytes, size - offset);
    const auto put = ::pwrite(state.file, bytes.data(), length, static_cast<off_t>(offset));
    invariant(put == static_cast<ssize_t>(length), "the backing folder has room");
  }
}

std::uint64_t Unsynced::blocks() const {
  std::uint64_t count = 0;
  for (const auto& [inode, state] : files_) count += state.dirty.size() + state.dropped.size();
  return count;
}

}  // namespace postern
