#include "store/failing_vfs.h"

#include <gtest/gtest.h>

#include <new>

#include "store/store.h"

namespace postern::store {
namespace {

/// The file as SQLite sees it; the one below lies right behind it.
struct FailingFile {
  sqlite3_file base;
  FailingVfs* vfs;
};

FailingFile& of(sqlite3_file* file) { return *reinterpret_cast<FailingFile*>(file); }
sqlite3_file* below(sqlite3_file* file) {
  return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(file) + sizeof(FailingFile));
}

int close(sqlite3_file* file) { return below(file)->pMethods->xClose(below(file)); }
int read(sqlite3_file* file, void* out, int size, sqlite3_int64 at) {
  if (const int wrong = of(file).vfs->ask()) return wrong;
  return below(file)->pMethods->xRead(below(file), out, size, at);
}
/// One that fails may have written a part.
int write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 at) {
  if (const int wrong = of(file).vfs->ask()) {
    below(file)->pMethods->xWrite(below(file), bytes, size / 2, at);
    return wrong;
  }
  return below(file)->pMethods->xWrite(below(file), bytes, size, at);
}
int truncate(sqlite3_file* file, sqlite3_int64 size) {
  if (const int wrong = of(file).vfs->ask()) return wrong;
  return below(file)->pMethods->xTruncate(below(file), size);
}
/// Nothing here cuts the power: what was written is there, and a thousand real syncs cost a minute.
int sync(sqlite3_file* file, int) { return of(file).vfs->ask(); }
int file_size(sqlite3_file* file, sqlite3_int64* size) {
  if (const int wrong = of(file).vfs->ask()) return wrong;
  return below(file)->pMethods->xFileSize(below(file), size);
}
int lock(sqlite3_file* file, int kind) { return below(file)->pMethods->xLock(below(file), kind); }
int unlock(sqlite3_file* file, int kind) {
  return below(file)->pMethods->xUnlock(below(file), kind);
}
int check_reserved(sqlite3_file* file, int* out) {
  return below(file)->pMethods->xCheckReservedLock(below(file), out);
}
int control(sqlite3_file* file, int what, void* argument) {
  return below(file)->pMethods->xFileControl(below(file), what, argument);
}
int sector_size(sqlite3_file* file) { return below(file)->pMethods->xSectorSize(below(file)); }
int characteristics(sqlite3_file* file) {
  return below(file)->pMethods->xDeviceCharacteristics(below(file));
}
int shm_map(sqlite3_file* file, int page, int size, int extend, void volatile** out) {
  if (const int wrong = extend ? of(file).vfs->ask() : SQLITE_OK) return wrong;
  return below(file)->pMethods->xShmMap(below(file), page, size, extend, out);
}
int shm_lock(sqlite3_file* file, int offset, int count, int flags) {
  return below(file)->pMethods->xShmLock(below(file), offset, count, flags);
}
void shm_barrier(sqlite3_file* file) { below(file)->pMethods->xShmBarrier(below(file)); }
int shm_unmap(sqlite3_file* file, int remove) {
  return below(file)->pMethods->xShmUnmap(below(file), remove);
}

constexpr sqlite3_io_methods kMethods = {
    .iVersion = 2,
    .xClose = close,
    .xRead = read,
    .xWrite = write,
    .xTruncate = truncate,
    .xSync = sync,
    .xFileSize = file_size,
    .xLock = lock,
    .xUnlock = unlock,
    .xCheckReservedLock = check_reserved,
    .xFileControl = control,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = characteristics,
    .xShmMap = shm_map,
    .xShmLock = shm_lock,
    .xShmBarrier = shm_barrier,
    .xShmUnmap = shm_unmap,
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

FailingVfs& of(sqlite3_vfs* vfs) { return *static_cast<FailingVfs*>(vfs->pAppData); }

int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  auto* made = new (file) FailingFile{{nullptr}, &of(vfs)};
  if (of(vfs).ask() != SQLITE_OK) return SQLITE_CANTOPEN;
  const int result = of(vfs).below()->xOpen(of(vfs).below(), name, below(file), flags, out_flags);
  if (result == SQLITE_OK) made->base.pMethods = &kMethods;
  return result;
}
int remove(sqlite3_vfs* vfs, const char* name, int sync_directory) {
  if (const int wrong = of(vfs).ask()) return wrong;
  return of(vfs).below()->xDelete(of(vfs).below(), name, sync_directory);
}

}  // namespace

FailingVfs::FailingVfs() : below_(sqlite3_vfs_find(nullptr)) {
  vfs_ = *below_;
  vfs_.zName = "failing";
  vfs_.szOsFile = static_cast<int>(sizeof(FailingFile)) + below_->szOsFile;
  vfs_.pAppData = this;
  vfs_.xOpen = open;
  vfs_.xDelete = remove;
  sqlite3_vfs_register(&vfs_, 1);
}

FailingVfs::~FailingVfs() {
  sqlite3_vfs_unregister(&vfs_);
  sqlite3_vfs_register(below_, 1);
}

void FailingVfs::fail_at(std::uint64_t nth, Failing how, int code) {
  left_ = nth;
  how_ = how;
  code_ = code;
  failed_ = false;
}

void FailingVfs::heal() { left_ = 0; }

int FailingVfs::ask() {
  if (left_ == 0 || (left_ > 1 && --left_ >= 1)) return SQLITE_OK;
  failed_ = true;
  if (how_ == Failing::once) left_ = 0;
  return code_;
}

namespace {

// The harness itself: without the store's care a fault would be seen.
TEST(FailingVfs, AFaultIsOneAndGoesWhenItIsHealed) {
  FailingVfs vfs;
  vfs.fail_at(1, FailingVfs::Failing::from_then_on, SQLITE_IOERR);
  EXPECT_FALSE(open_sqlite(testing::TempDir() + "/never.db"));
  EXPECT_TRUE(vfs.failed());
  vfs.heal();
  EXPECT_EQ(vfs.ask(), SQLITE_OK);
}

}  // namespace
}  // namespace postern::store
