#include "postgresql/test_cluster.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace postern::postgresql {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWayOut = "install the package postgresql (./dev setup does)";

fs::path newest_binaries() {
  fs::path newest;
  int version = 0;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", none)) {
    const int number = std::atoi(entry.path().filename().c_str());
    if (number > version && fs::exists(entry.path() / "bin/initdb")) {
      version = number;
      newest = entry.path() / "bin";
    }
  }
  if (newest.empty())
    throw std::runtime_error(
        fmt::format("no PostgreSQL in /usr/lib/postgresql/*/bin on this machine; {}", kWayOut));
  return newest;
}

/// Reached by every user, in memory where there is enough of it.
fs::path make_folder(const passwd* user) {
  constexpr std::uint64_t kEnoughBytes = 1u << 30;
  struct statvfs memory {};
  const bool fits = statvfs("/dev/shm", &memory) == 0 &&
                    memory.f_bavail * memory.f_frsize > kEnoughBytes &&
                    access("/dev/shm", W_OK) == 0;
  std::string name = std::string(fits ? "/dev/shm" : "/tmp") + "/postern-pg-XXXXXX";
  if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder at " + name);
  if (user && chown(name.c_str(), user->pw_uid, user->pw_gid) != 0)
    throw std::runtime_error("chown of " + name);
  return name;
}

/// Who PostgreSQL runs as; null: as who we are.
const passwd* other_user() {
  if (geteuid() != 0) return nullptr;
  for (const char* name : {"postgres", "nobody"})
    if (const passwd* user = getpwnam(name)) return user;
  throw std::runtime_error("PostgreSQL refuses root, and there is no user postgres or nobody");
}

struct Process {
  pid_t id = -1, parent = -1;
  bool lives = false;
};

/// A zombie is of nobody's interest but its parent's.
Process process_in(const fs::path& folder) {
  Process process;
  std::ifstream file(folder / "stat");
  std::string name;
  char state = 0;
  if (file >> process.id && std::getline(file, name, ')') && file >> state >> process.parent)
    process.lives = state != 'Z' && state != 'X';
  return process;
}

void wait_briefly() { poll(nullptr, 0, 5); }

}  // namespace

TestCluster::TestCluster() : TestCluster(nullptr) {
  run_to_end("initdb", {"-D", folder_ / "data", "-U", "postgres", "--auth=trust", "-E", "UTF8",
                        "--locale=C", "--no-sync"});
  // Sync is on, as it is where it matters; the folder makes it cheap.
  std::ofstream(folder_ / "data/postgresql.conf", std::ios::app)
      << "listen_addresses = ''\nshared_buffers = 32MB\nmax_wal_size = 256MB\n"
         "dynamic_shared_memory_type = mmap\nautovacuum = off\ndeadlock_timeout = 100ms\n"
      << "unix_socket_directories = '" << folder_.string() << "'\n";
  start();
}

TestCluster::TestCluster(const TestCluster* original)
    : binaries_(newest_binaries()), folder_(make_folder(other_user())) {
  if (!original) return;
  fs::remove(folder_);
  run_to_end("/bin/cp", {"-a", original->folder_, folder_});
  for (const char* lock : {"data/postmaster.pid", ".s.PGSQL.5432", ".s.PGSQL.5432.lock"})
    fs::remove(folder_ / lock);
  std::ofstream(folder_ / "data/postgresql.conf", std::ios::app)
      << "unix_socket_directories = '" << folder_.string() << "'\n";
}

TestCluster::~TestCluster() {
  stop();
  std::error_code none;
  fs::remove_all(folder_, none);
  fs::remove(folder_.string() + ".log", none);
}

TestCluster& TestCluster::shared() {
  static TestCluster cluster;
  return cluster;
}

pid_t TestCluster::begin(const std::string& program,
                         const std::vector<std::string>& arguments) const {
  const std::string path = program.starts_with('/') ? program : (binaries_ / program).string();
  std::vector<char*> argv = {const_cast<char*>(path.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const std::string log_file = folder_.string() + ".log";
  const passwd* user = other_user();
  const pid_t child = fork();
  if (child != 0) return child;
  const int log = open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  dup2(log, 1);
  dup2(log, 2);
  if (user && (setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)) _exit(126);
  prctl(PR_SET_PDEATHSIG, SIGQUIT);
  if (chdir("/") == 0) execv(path.c_str(), argv.data());
  _exit(127);
}

void TestCluster::run_to_end(const std::string& program,
                             const std::vector<std::string>& arguments) const {
  int status = 0;
  waitpid(begin(program, arguments), &status, 0);
  if (status != 0) throw std::runtime_error(fmt::format("{} failed: {}", program, log()));
}

std::string TestCluster::log() const {
  std::ifstream file(folder_.string() + ".log");
  return {std::istreambuf_iterator<char>(file), {}};
}

void TestCluster::start() {
  server_ = begin("postgres", {"-D", folder_ / "data"});
  while (PQping(url("postgres").c_str()) != PQPING_OK) {
    if (waitpid(server_, nullptr, WNOHANG) == server_) {
      server_ = -1;
      throw std::runtime_error("PostgreSQL did not start: " + log());
    }
    wait_briefly();
  }
}

/// The server and its children, which are groups of their own.
std::vector<pid_t> TestCluster::processes() const {
  std::vector<pid_t> found = {server_};
  for (const auto& entry : fs::directory_iterator("/proc"))
    if (const Process process = process_in(entry.path()); process.parent == server_)
      found.push_back(process.id);
  return found;
}

void TestCluster::stop() {
  if (server_ < 0) return;
  kill(server_, SIGSTOP);  // it starts no more children
  const std::vector<pid_t> all = processes();
  for (const pid_t process : all) kill(process, SIGKILL);
  waitpid(server_, nullptr, 0);
  // The next start refuses while one of them is there.
  for (const pid_t process : all)
    while (process_in(fmt::format("/proc/{}", process)).lives) wait_briefly();
  server_ = -1;
}

std::unique_ptr<TestCluster> TestCluster::copy() {
  kill(server_, SIGSTOP);
  const std::vector<pid_t> all = processes();
  for (const pid_t process : all) kill(process, SIGSTOP);
  std::unique_ptr<TestCluster> other(new TestCluster(this));
  for (const pid_t process : all) kill(process, SIGCONT);
  other->start();
  return other;
}

std::string TestCluster::url(const std::string& database) const {
  return fmt::format("postgresql:///{}?host={}&user=postgres", database, folder_.string());
}

std::string TestCluster::make_database() {
  const std::string name = fmt::format("test{}", ++databases_);
  run("CREATE DATABASE " + name);
  return name;
}

std::string TestCluster::run(const std::string& sql, const std::string& database) const {
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(PQconnectdb(url(database).c_str()),
                                                                &PQfinish);
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection.get(), sql.c_str()),
                                                             &PQclear);
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
    throw std::runtime_error(sql + ": " + PQerrorMessage(connection.get()));
  return PQntuples(result.get()) > 0 ? PQgetvalue(result.get(), 0, 0) : "";
}

}  // namespace postern::postgresql
