#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "store/store_conformance.h"

namespace postern::store {
namespace {

class Folder {
 public:
  Folder() : path_(testing::TempDir() + "/store-XXXXXX") {
    if (!mkdtemp(path_.data())) throw std::runtime_error("no temporary folder at " + path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

class SqliteBackend final : public Backend {
 public:
  Result<std::unique_ptr<Store>> open() override { return open_sqlite(folder_.file("store.db")); }
  Result<std::unique_ptr<Store>> open_after_power_loss() override {
    // The log's index is memory of running programs; only these two files count.
    for (const char* end : {"", "-wal"})
      if (std::filesystem::exists(folder_.file("store.db") + end))
        std::filesystem::copy_file(folder_.file("store.db") + end, folder_.file("copy.db") + end);
    return open_sqlite(folder_.file("copy.db"));
  }
  void refuse_metric(const std::string& metric) override {
    SQLite::Database(folder_.file("store.db"), SQLite::OPEN_READWRITE, 1000)
        .exec("CREATE TRIGGER refuse BEFORE INSERT ON latest_value WHEN NEW.metric = '" + metric +
              "' BEGIN SELECT RAISE(ABORT, 'refused by the test'); END");
  }

 private:
  Folder folder_;
};

INSTANTIATE_TEST_SUITE_P(Sqlite, StoreConformance,
                         testing::Values<BackendMaker>([]() -> std::unique_ptr<Backend> {
                           return std::make_unique<SqliteBackend>();
                         }));

Apply batch_of(std::size_t bytes, std::uint64_t n) {
  Apply apply;
  apply.header.sequence = n;
  apply.hash.fill(static_cast<std::byte>(n));
  if (n > 1) apply.header.previous.fill(static_cast<std::byte>(n - 1));
  apply.message = std::make_shared<const Bytes>(bytes);
  return apply;
}

TEST(Sqlite, MakesItsFileForOwnerAndGroupOnly) {
  Folder folder;
  const auto store = open_sqlite(folder.file("store.db"));
  ASSERT_TRUE(store) << store.error().message;
  ASSERT_TRUE((*store)->set_setting("a", "b"));
  for (const char* end : {"", "-wal"}) {
    struct stat status {};
    ASSERT_EQ(stat((folder.file("store.db") + end).c_str(), &status), 0) << end;
    EXPECT_EQ(status.st_mode & 0137u, 0u)
        << end << ": not for others, not executable, not written by the group";
  }
}

TEST(Sqlite, WorksInMemory) {
  const auto store = open_sqlite(":memory:");
  ASSERT_TRUE(store) << store.error().message;
  EXPECT_EQ((*store)->apply(std::vector{batch_of(10, 1)}).value(), std::vector{Outcome::applied});
}

TEST(Sqlite, RefusesAStoreOfANewerProgramAndSaysSo) {
  Folder folder;
  ASSERT_TRUE(open_sqlite(folder.file("store.db")));
  SQLite::Database(folder.file("store.db"), SQLite::OPEN_READWRITE)
      .exec("PRAGMA user_version = 99");
  const auto store = open_sqlite(folder.file("store.db"));
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Errc::invalid);
  EXPECT_NE(store.error().message.find("schema version 99"), std::string::npos)
      << store.error().message;
}

TEST(Sqlite, BringsAFileOfTheFirstSchemaToTheNewestAndFindsItsHoles) {
  Folder folder;
  {
    auto store = std::move(open_sqlite(folder.file("store.db")).value());
    ASSERT_TRUE(store->apply(std::vector{batch_of(10, 1), batch_of(10, 3)}));
    Apply whole = batch_of(10, 1);
    whole.header.stream.lane = wire::Lane::event;
    ASSERT_TRUE(store->apply(std::vector{whole}));
  }
  SQLite::Database(folder.file("store.db"), SQLite::OPEN_READWRITE)
      .exec(
          "DROP INDEX stream_with_holes; ALTER TABLE stream DROP COLUMN has_holes;"
          " ALTER TABLE stream DROP COLUMN sealed_hash; ALTER TABLE gap DROP COLUMN noted;"
          " DROP TABLE refused; DROP TABLE released; DROP TABLE notice; DROP TABLE alert;"
          " DROP TABLE trace; DROP TABLE api_token; DROP TABLE join_use; DROP TABLE join_token; "
          "DROP INDEX archive_sealed_again;"
          " ALTER TABLE archive DROP COLUMN first_sealed; DROP INDEX archive_by_time;"
          " ALTER TABLE archive DROP COLUMN first_time; ALTER TABLE archive DROP COLUMN last_time;"
          " CREATE INDEX archive_by_arrival ON archive (arrived, id); DROP TABLE revocation;"
          " ALTER TABLE node DROP COLUMN tls_key_sha256;"
          " ALTER TABLE node DROP COLUMN certificate_issuer_sha256;"
          " ALTER TABLE node DROP COLUMN certificate_serial;"
          " ALTER TABLE node DROP COLUMN compromised; PRAGMA user_version = 1");
  auto store = open_sqlite(folder.file("store.db"));
  ASSERT_TRUE(store) << store.error().message;
  const auto holes = (*store)->holes(10).value();
  ASSERT_EQ(holes.size(), 1u);
  EXPECT_EQ(holes[0].first, 2u);
  EXPECT_EQ((*store)->apply(std::vector{batch_of(10, 2)}).value(), std::vector{Outcome::applied});
  EXPECT_TRUE((*store)->holes(10).value().empty());
}

TEST(Sqlite, RefusesSomebodyElsesFileAndLeavesItAsItWas) {
  Folder folder;
  SQLite::Database(folder.file("other.db"), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE)
      .exec("CREATE TABLE a (b)");
  EXPECT_EQ(open_sqlite(folder.file("other.db")).error().code, Errc::invalid);
  SQLite::Database other(folder.file("other.db"));
  EXPECT_EQ(other.execAndGet("PRAGMA journal_mode").getString(), "delete");
  EXPECT_EQ(other.execAndGet("SELECT count(*) FROM sqlite_schema").getInt(), 1);

  std::ofstream(folder.file("text.db")) << std::string(5000, 'x');
  EXPECT_EQ(open_sqlite(folder.file("text.db")).error().code, Errc::corrupt);
  EXPECT_EQ(open_sqlite(folder.file("no/such/folder.db")).error().code, Errc::unavailable);
}

TEST(Sqlite, RowsThatContradictEachOtherAreAnErrorNotAnAbort) {
  Folder folder;
  auto store = std::move(open_sqlite(folder.file("store.db")).value());
  ASSERT_TRUE(store->apply(std::vector{batch_of(10, 1)}));
  SQLite::Database(folder.file("store.db"), SQLite::OPEN_READWRITE, 1000)
      .exec("UPDATE applied_range SET last = 0");
  EXPECT_EQ(store->applied({}).error().code, Errc::corrupt);
  EXPECT_EQ(store->apply(std::vector{batch_of(10, 2)}).error().code, Errc::corrupt);
}

TEST(Sqlite, TidyEmptiesALargeLogAndACommitNeverDoes) {
  Folder folder;
  auto store = std::move(open_sqlite(folder.file("store.db")).value());
  ASSERT_TRUE(store->tidy());
  const auto size = [&] { return std::filesystem::file_size(folder.file("store.db")); };
  const auto at_first = size();
  for (std::uint64_t n = 1; n <= 10; ++n)
    ASSERT_TRUE(store->apply(std::vector{batch_of(1'000'000, n)}));
  EXPECT_EQ(size(), at_first) << "all in the log";
  ASSERT_TRUE(store->tidy());
  EXPECT_GT(size(), 10'000'000u);
  const auto log = std::filesystem::file_size(folder.file("store.db-wal"));
  for (std::uint64_t n = 11; n <= 15; ++n)
    ASSERT_TRUE(store->apply(std::vector{batch_of(1'000'000, n)}));
  EXPECT_EQ(std::filesystem::file_size(folder.file("store.db-wal")), log)
      << "the log is used again from its start";
}

/// No file of this process grows beyond `bytes` while it lives: a disk that is full.
class FullDisk {
 public:
  explicit FullDisk(std::uint64_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

TEST(Sqlite, AFullDiskRefusesTheCallKeepsTheRestAndRecovers) {
  Folder folder;
  auto store = std::move(open_sqlite(folder.file("store.db")).value());
  ASSERT_TRUE(store->apply(std::vector{batch_of(1000, 1)}));
  const std::vector<Apply> large = {batch_of(200'000, 2), batch_of(200'000, 3)};
  {
    FullDisk full(std::filesystem::file_size(folder.file("store.db-wal")) + 250'000);
    EXPECT_FALSE(store->apply(large));
    EXPECT_EQ(store->applied({}).value().intervals.back().last, 1u);
  }
  EXPECT_EQ(store->apply(large).value(), (std::vector{Outcome::applied, Outcome::applied}));
  store.reset();
  store = std::move(open_sqlite(folder.file("store.db")).value());
  EXPECT_EQ(store->applied({}).value().intervals.back().last, 3u);
}

}  // namespace
}  // namespace postern::store
