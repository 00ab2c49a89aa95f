#include "base/fake_disk.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "base/random.h"

namespace postern {
namespace {

constexpr std::size_t kSectorBytes = 512;

/// A write, or a truncation when `truncated` is set, that is not synced yet.
struct Change {
  std::uint64_t offset = 0;
  Bytes bytes;
  bool truncated = false;
};

void overwrite(Bytes& file, std::uint64_t offset, ByteView bytes) {
  if (bytes.empty()) return;
  if (file.size() < offset + bytes.size()) file.resize(offset + bytes.size());
  std::copy(bytes.begin(), bytes.end(), file.begin() + static_cast<std::ptrdiff_t>(offset));
}

void perform(Bytes& file, const Change& change) {
  if (change.truncated)
    file.resize(change.offset);
  else
    overwrite(file, change.offset, change.bytes);
}

/// What the power left of a change: all, nothing, or some sectors.
void perform_torn(Bytes& file, const Change& change, Random& random) {
  const auto outcome = random.below(3);
  if (outcome == 0) return;
  if (outcome == 1 || change.truncated) return perform(file, change);
  for (std::size_t done = 0; done < change.bytes.size();) {
    const std::size_t sector_left = kSectorBytes - (change.offset + done) % kSectorBytes;
    const std::size_t size = std::min(sector_left, change.bytes.size() - done);
    if (random.below(2) == 0)
      overwrite(file, change.offset + done, ByteView(change.bytes).subspan(done, size));
    done += size;
  }
}

/// A file apart from its name.
struct Node {
  Bytes seen;     // by programs
  Bytes durable;  // without what `changes` may still bring
  std::vector<Change> changes;
};
using NodePointer = std::shared_ptr<Node>;  // shared by names, changes of names, and open files

/// Names that a directory sync makes durable; null in `node` means the name is gone.
struct NameChange {
  std::filesystem::path directory;
  std::map<std::filesystem::path, NodePointer> names;  // a rename has two
};

std::filesystem::path directory_of(const std::filesystem::path& path) {
  return path.parent_path().empty() ? "." : path.parent_path();
}

}  // namespace

struct FakeDisk::State {
  explicit State(std::uint64_t seed) : random(seed) {}

  mutable std::mutex mutex;  // guards everything below
  SeededRandom random;
  std::set<std::filesystem::path> directories;
  std::map<std::filesystem::path, NodePointer> names;
  std::map<std::filesystem::path, NodePointer> durable_names;
  std::vector<NameChange> name_changes;
  std::uint64_t bytes_max = UINT64_MAX;
  std::uint64_t calls = 0, syncs = 0, crashes = 0;
  std::uint64_t fail_call = 0;  // 0: none
  Failing failing = Failing::once;
  Errc code = Errc::unavailable;
  bool failed = false;
  std::function<void()> on_sync;

  Result<> count(const char* call, const std::filesystem::path& path) {
    ++calls;
    const bool due =
        fail_call != 0 && (failing == Failing::once ? calls == fail_call : calls >= fail_call);
    if (!due) return {};
    failed = true;
    return fail(code, "{} {}: a failure that was asked for", call, path.string());
  }

  std::uint64_t bytes_used() const {
    std::uint64_t sum = 0;
    for (const auto& [path, node] : names) sum += node->seen.size();
    return sum;
  }

  void change_names(const std::filesystem::path& directory,
                    std::map<std::filesystem::path, NodePointer> changed) {
    put_names(names, changed);
    name_changes.push_back({directory, std::move(changed)});
  }

  static void put_names(std::map<std::filesystem::path, NodePointer>& into,
                        const std::map<std::filesystem::path, NodePointer>& changed) {
    for (const auto& [path, node] : changed) {
      if (node)
        into[path] = node;
      else
        into.erase(path);
    }
  }
};

class FakeDisk::OpenFile final : public File {
 public:
  OpenFile(State& state, NodePointer node, std::filesystem::path path)
      : state_(state), node_(std::move(node)), path_(std::move(path)), crashes_(state.crashes) {}

  Result<> write_at(std::uint64_t offset, ByteView bytes) override {
    const std::scoped_lock lock(state_.mutex);
    if (auto usable = count("write"); !usable) {
      if (crashes_ == state_.crashes)
        write(offset, bytes.first(state_.random.below(bytes.size() + 1)));
      return usable;
    }
    const std::uint64_t end = offset + bytes.size();
    const std::uint64_t growth = end > node_->seen.size() ? end - node_->seen.size() : 0;
    if (state_.bytes_used() + growth > state_.bytes_max)
      return fail(Errc::exhausted, "write {}: the disk holds at most {} bytes", path_.string(),
                  state_.bytes_max);
    write(offset, bytes);
    return {};
  }

  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    const std::scoped_lock lock(state_.mutex);
    if (auto usable = count("read"); !usable) return std::unexpected(usable.error());
    if (offset >= node_->seen.size()) return 0;
    const std::size_t size = std::min<std::size_t>(out.size(), node_->seen.size() - offset);
    std::copy_n(node_->seen.begin() + static_cast<std::ptrdiff_t>(offset), size, out.begin());
    return size;
  }

  Result<> sync() override {
    std::function<void()> on_sync;
    {
      const std::scoped_lock lock(state_.mutex);
      on_sync = state_.on_sync;
    }
    if (on_sync) on_sync();
    const std::scoped_lock lock(state_.mutex);
    auto usable = count("fdatasync");
    if (crashes_ != state_.crashes) return usable;
    for (const Change& change : node_->changes) {
      if (usable)
        perform(node_->durable, change);
      else
        perform_torn(node_->durable, change, state_.random);
    }
    node_->changes.clear();
    if (usable) ++state_.syncs;
    return usable;
  }

  Result<std::uint64_t> size() const override {
    const std::scoped_lock lock(state_.mutex);
    if (auto usable = count("stat"); !usable) return std::unexpected(usable.error());
    return node_->seen.size();
  }

  Result<> truncate(std::uint64_t size) override {
    const std::scoped_lock lock(state_.mutex);
    if (auto usable = count("truncate"); !usable) return usable;
    node_->changes.push_back({size, {}, true});
    perform(node_->seen, node_->changes.back());
    return {};
  }

 private:
  Result<> count(const char* call) const {
    if (auto usable = state_.count(call, path_); !usable) return usable;
    if (crashes_ != state_.crashes)
      return fail(Errc::unavailable, "{} {}: opened before the power failed", call, path_.string());
    return {};
  }
  void write(std::uint64_t offset, ByteView bytes) {
    node_->changes.push_back({offset, to_bytes(bytes), false});
    perform(node_->seen, node_->changes.back());
  }

  State& state_;
  NodePointer node_;
  std::filesystem::path path_;
  std::uint64_t crashes_;
};

FakeDisk::FakeDisk(std::uint64_t seed) : state_(std::make_unique<State>(seed)) {}
FakeDisk::~FakeDisk() = default;

void FakeDisk::fail_at(std::uint64_t nth, Failing how, Errc code) {
  const std::scoped_lock lock(state_->mutex);
  state_->fail_call = state_->calls + nth;
  state_->failing = how;
  state_->code = code;
  state_->failed = false;
}

void FakeDisk::heal() {
  const std::scoped_lock lock(state_->mutex);
  state_->fail_call = 0;
}

bool FakeDisk::failed() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->failed;
}

std::uint64_t FakeDisk::calls() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->calls;
}

std::uint64_t FakeDisk::syncs() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->syncs;
}

void FakeDisk::crash() {
  const std::scoped_lock lock(state_->mutex);
  State& state = *state_;
  ++state.crashes;
  for (const NameChange& change : state.name_changes)
    if (state.random.below(2) == 0) State::put_names(state.durable_names, change.names);
  state.name_changes.clear();
  state.names = state.durable_names;
  for (auto& [path, node] : state.names) {
    for (const Change& change : node->changes) perform_torn(node->durable, change, state.random);
    node->changes.clear();
    node->seen = node->durable;
  }
}

void FakeDisk::set_bytes_max(std::uint64_t bytes_max) {
  const std::scoped_lock lock(state_->mutex);
  state_->bytes_max = bytes_max;
}

void FakeDisk::set_on_sync(std::function<void()> on_sync) {
  const std::scoped_lock lock(state_->mutex);
  state_->on_sync = std::move(on_sync);
}

Bytes FakeDisk::contents(const std::filesystem::path& path) const {
  const std::scoped_lock lock(state_->mutex);
  const auto found = state_->names.find(path);
  return found == state_->names.end() ? Bytes() : found->second->seen;
}

void FakeDisk::set_contents(const std::filesystem::path& path, Bytes bytes) {
  const std::scoped_lock lock(state_->mutex);
  state_->directories.insert(directory_of(path));
  auto node = std::make_shared<Node>();
  node->seen = node->durable = std::move(bytes);
  state_->names[path] = state_->durable_names[path] = std::move(node);
}

Result<std::unique_ptr<File>> FakeDisk::open(const std::filesystem::path& path, Open how) {
  const std::scoped_lock lock(state_->mutex);
  if (auto usable = state_->count("open", path); !usable) return std::unexpected(usable.error());
  const auto found = state_->names.find(path);
  const bool there = found != state_->names.end();
  if (how == Open::create_new) {
    if (there) return fail(Errc::unavailable, "open {}: the file exists", path.string());
    if (!state_->directories.contains(directory_of(path)))
      return fail(Errc::unavailable, "open {}: no such directory", path.string());
    auto node = std::make_shared<Node>();
    state_->change_names(directory_of(path), {{path, node}});
    return std::make_unique<OpenFile>(*state_, std::move(node), path);
  }
  if (!there) return fail(Errc::unavailable, "open {}: no such file", path.string());
  return std::make_unique<OpenFile>(*state_, found->second, path);
}

Result<> FakeDisk::make_directories(const std::filesystem::path& path) {
  const std::scoped_lock lock(state_->mutex);
  if (auto usable = state_->count("mkdir", path); !usable) return usable;
  for (auto made = path; !made.empty(); made = made.parent_path()) {
    state_->directories.insert(made);
    if (made == made.parent_path()) break;
  }
  return {};
}

Result<> FakeDisk::rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  const std::scoped_lock lock(state_->mutex);
  if (auto usable = state_->count("rename", from); !usable) return usable;
  const auto found = state_->names.find(from);
  if (found == state_->names.end())
    return fail(Errc::unavailable, "rename {}: no such file", from.string());
  state_->change_names(directory_of(from), {{from, nullptr}, {to, found->second}});
  return {};
}

Result<> FakeDisk::remove(const std::filesystem::path& path) {
  const std::scoped_lock lock(state_->mutex);
  if (auto usable = state_->count("remove", path); !usable) return usable;
  if (state_->names.contains(path)) state_->change_names(directory_of(path), {{path, nullptr}});
  return {};
}

Result<bool> FakeDisk::exists(const std::filesystem::path& path) {
  const std::scoped_lock lock(state_->mutex);
  if (auto usable = state_->count("stat", path); !usable) return std::unexpected(usable.error());
  return state_->names.contains(path) || state_->directories.contains(path);
}

Result<FileStatus> FakeDisk::status(const std::filesystem::path& path) {
  const std::scoped_lock lock(state_->mutex);
  if (auto usable = state_->count("stat", path); !usable) return std::unexpected(usable.error());
  if (state_->directories.contains(path)) return FileStatus{true, false, 0700, 0, 0};
  if (state_->names.contains(path)) return FileStatus{false, true, 0600, 0, 0};
  return fail(Errc::unavailable, "stat {}: no such file", path.string());
}

Result<> FakeDisk::set_mode(const std::filesystem::path& path, unsigned) {
  const std::scoped_lock lock(state_->mutex);
  return state_->count("chmod", path);
}

Result<> FakeDisk::hand_over(const std::filesystem::path& path, unsigned, unsigned) {
  const std::scoped_lock lock(state_->mutex);
  return state_->count("chown", path);
}

Result<std::vector<std::string>> FakeDisk::list(const std::filesystem::path& path) {
  const std::scoped_lock lock(state_->mutex);
  if (auto usable = state_->count("list", path); !usable) return std::unexpected(usable.error());
  if (!state_->directories.contains(path))
    return fail(Errc::unavailable, "list {}: no such directory", path.string());
  std::set<std::string> found;
  for (const auto& [name, node] : state_->names)
    if (directory_of(name) == path) found.insert(name.filename().string());
  for (const auto& directory : state_->directories)
    if (directory != path && directory_of(directory) == path)
      found.insert(directory.filename().string());
  return std::vector<std::string>(found.begin(), found.end());
}

Result<> FakeDisk::sync_directory(const std::filesystem::path& path) {
  const std::scoped_lock lock(state_->mutex);
  if (auto usable = state_->count("fsync", path); !usable) return usable;
  std::erase_if(state_->name_changes, [&](const NameChange& change) {
    if (change.directory != path) return false;
    State::put_names(state_->durable_names, change.names);
    return true;
  });
  return {};
}

Result<std::uint64_t> FakeDisk::free_bytes(const std::filesystem::path& path) {
  const std::scoped_lock lock(state_->mutex);
  if (auto usable = state_->count("statvfs", path); !usable) return std::unexpected(usable.error());
  const std::uint64_t used = state_->bytes_used();
  return used < state_->bytes_max ? state_->bytes_max - used : 0;
}

Result<> FakeDisk::write_file(const std::filesystem::path& path, ByteView bytes, unsigned) {
  const std::filesystem::path temporary = path.string() + ".new";
  if (auto removed = remove(temporary); !removed) return removed;
  auto file = open(temporary, Open::create_new);
  if (!file) return std::unexpected(file.error());
  if (auto written = (*file)->write_at(0, bytes); !written) return written;
  if (auto synced = (*file)->sync(); !synced) return synced;
  if (auto renamed = rename(temporary, path); !renamed) return renamed;
  return sync_directory(directory_of(path));
}

}  // namespace postern
