#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/random.h"

namespace postern {

inline constexpr std::uint64_t kBlockBytes = 4096;
inline constexpr std::uint64_t kSectorBytes = 512;

struct Loss {
  std::uint64_t kept = 0, lost = 0, torn = 0;  // blocks
  std::uint64_t entries_kept = 0, entries_lost = 0;
};

/// What a disk need not hold yet, and how to take it back.
///
/// The backing folder always shows the newest state; this knows the way back to what was synced:
/// the old bytes of every block that changed, old sizes, and the changes of folders. lose() goes
/// back a part of that way. Nothing here is synced for real: the power that fails is simulated.
///
///   - Blocks of 4 KiB are lost, kept, or torn (each sector of 512 bytes old or new), in any order.
///     A file's size is the synced one, the newest, or between them.
///   - Changes of one folder survive in their order: the first n of them. A file that was synced in
///     a folder that was not may be gone.
///   - After a failed sync of a file a later good one does not cover what was unsynced then, unless
///     it was written again: the kernel holds those bytes as clean.
///
/// Owner: the mounted file system, which calls from one thread at a time.
class Unsynced {
 public:
  /// `graves` is an empty folder on the same file system: what was removed lies there until its
  /// folder is synced. Paths of entries are relative to `root`.
  Unsynced(std::string root, std::string graves);
  ~Unsynced();
  Unsynced(const Unsynced&) = delete;
  Unsynced& operator=(const Unsynced&) = delete;

  // Before the bytes change; `file` is open for reading and writing.
  void before_write(int file, std::uint64_t offset, std::uint64_t length);
  void before_resize(int file, std::uint64_t size);

  // Changes of folders: after it happened, or instead of the system call. 0 or an errno.
  void created(const std::string& path);
  int remove(const std::string& path);
  int rename(const std::string& from, const std::string& to, bool replace);

  void synced(int file);
  void sync_failed(int file);
  void folder_synced(const std::string& folder);
  void all_synced();

  /// Power fails. No program has a file open any more. The same seed and history, the same outcome.
  Loss lose(Random& random);

  std::uint64_t blocks() const;
  std::uint64_t entries() const { return changes_.size(); }

 private:
  struct FileState {
    int file = -1;                           // our own descriptor: the inode stays while we need it
    std::uint64_t number = 0;                // in the order of their first change
    std::uint64_t synced_bytes = 0;          // the size that is safe
    std::map<std::uint64_t, Bytes> dirty;    // block: its synced bytes
    std::map<std::uint64_t, Bytes> dropped;  // the same, of which a sync has failed
  };
  struct Change {
    enum class Kind { created, removed, renamed };
    Kind kind;
    std::string folder;  // relative to root, "" is the root itself
    std::string path;    // renamed: the new one
    std::string from;    // renamed: the old one
    std::string grave;   // what had been at `path`
  };

  FileState& state_of(int file);
  void save(FileState& state, std::uint64_t block);
  void forget(std::map<ino_t, FileState>::iterator state);
  void lose_blocks(FileState& state, Random& random, Loss& loss);
  void undo(const Change& change);
  void move_changes(const std::string& from, const std::string& to);
  void bury(const std::string& grave);
  std::string full(const std::string& path) const { return root_ + "/" + path; }

  std::string root_, graves_;
  std::map<ino_t, FileState> files_;
  std::vector<Change> changes_;  // oldest first
  std::uint64_t graves_made_ = 0;
  std::uint64_t states_made_ = 0;
};

/// "a/b" is in "a", "b" in "".
std::string folder_of(const std::string& path);

}  // namespace postern
