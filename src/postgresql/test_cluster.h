#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace postern::postgresql {

/// A PostgreSQL for tests: made in a temporary folder, reached by a Unix socket there, gone with
/// the object. Runs as another user when the test is root, because PostgreSQL refuses root. Throws
/// std::runtime_error with words when this machine has none or it does not start.
class TestCluster {
 public:
  TestCluster();
  ~TestCluster();
  TestCluster(const TestCluster&) = delete;
  TestCluster& operator=(const TestCluster&) = delete;

  /// The one that all tests of the program share; made at the first call, ends with the program.
  static TestCluster& shared();

  std::string url(const std::string& database) const;
  std::string make_database();  // a new, empty one; returns its name
  /// As the superuser. Returns the first column of the first row, "" when there is none.
  std::string run(const std::string& sql, const std::string& database = "postgres") const;
  /// What would be left if the power went now, as another cluster.
  std::unique_ptr<TestCluster> copy();
  void stop();  // kill -9 of every process
  void start();

 private:
  explicit TestCluster(const TestCluster* original);
  pid_t begin(const std::string& program, const std::vector<std::string>& arguments) const;
  void run_to_end(const std::string& program, const std::vector<std::string>& arguments) const;
  std::vector<pid_t> processes() const;
  std::string log() const;

  std::filesystem::path binaries_, folder_;
  pid_t server_ = -1;
  int databases_ = 0;
};

}  // namespace postern::postgresql
