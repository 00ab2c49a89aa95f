// What the spool costs on this machine's disk: spool_bench FOLDER [GIB].
//
// Appends with group commit, without and with pre-written segments; then a spool of GIB (default
// 10) that is opened again, with the time and the resident memory that takes. FOLDER is made for it
// and removed at the end.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>

#include "spool/segment.h"
#include "spool/spool_thread.h"
#include "wire/batch.h"

namespace {

using namespace postern;  // NOLINT: a program of its own
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

const Log& log() {
  static const Log lines(Level::warning,
                         [](Level, std::string_view line) { fmt::print(stderr, "{}\n", line); });
  return lines;
}

wire::StreamKey stream(std::uint8_t node) {
  wire::StreamKey key;
  key.node.bytes.fill(std::byte{node});
  key.epoch = {1, 7};
  key.lane = wire::Lane::metric;
  return key;
}

spool::Spool::Append batch(std::uint64_t sequence, std::size_t bytes) {
  wire::BatchHeader header;
  header.stream = stream(static_cast<std::uint8_t>(1 + sequence % 10));
  header.sequence = sequence;
  header.records = 100;
  Bytes whole = wire::encode_signed_part(header);
  whole.resize(std::max(bytes, wire::kBatchHeaderBytes), std::byte{0x5a});
  spool::Spool::Append append{header.stream, sequence, {}, nullptr};
  append.hash.fill(static_cast<std::byte>(sequence));
  append.message = std::make_shared<const Bytes>(wire::write_stamped({}, whole));
  return append;
}

/// `senders` keep one batch each on its way, as children do that wait for their answer.
void bench_append(const std::filesystem::path& folder, bool preallocate, std::size_t senders,
                  std::size_t bytes) {
  PosixDisk disk;
  spool::Options options;
  options.bytes_max = 64ull << 30;
  options.preallocate = preallocate;
  auto opened = spool::Spool::open(disk, log(), folder, options);
  if (!opened) return;
  std::uint64_t stored = 0, next = 0;
  // Into the second segment: the first is never written in advance.
  for (int i = 0; i < 18; ++i) {
    const auto one = batch(++next, 1u << 20);
    if (!opened->spool->append({&one, 1})) return;
    while (opened->spool->untidy()) opened->spool->tidy();
  }
  const std::uint64_t syncs_before = opened->spool->usage().syncs;
  double elapsed = 0;
  spool::Usage usage;
  std::vector<double> waits;
  {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::function<void()>> posted;
    spool::SpoolThread thread(std::move(opened->spool), std::make_unique<ThreadWorker>("spool"),
                              [&](std::function<void()> task) {
                                const std::scoped_lock lock(mutex);
                                posted.push_back(std::move(task));
                                changed.notify_one();
                              });
    const auto start = Clock::now();
    std::size_t on_the_way = 0;
    const std::function<void()> send = [&] {
      ++on_the_way;
      const auto sent = Clock::now();
      thread.append(batch(++next, bytes), [&, sent](const Result<spool::Location>& location) {
        --on_the_way;
        waits.push_back(seconds_since(sent));
        if (location) ++stored;
        if (seconds_since(start) < 3) send();
      });
    };
    for (std::size_t i = 0; i < senders; ++i) send();
    while (on_the_way > 0) {
      std::vector<std::function<void()>> tasks;
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return !posted.empty(); });
        tasks.swap(posted);
      }
      for (const auto& task : tasks) task();
    }
    elapsed = seconds_since(start);
    usage = thread.usage();
  }
  std::sort(waits.begin(), waits.end());
  const auto syncs = static_cast<double>(usage.syncs - syncs_before);
  fmt::print("{:>11} {:>8} {:>8} {:>10.0f} {:>8.1f} {:>8.0f} {:>9.1f} {:>7.0f} {:>7.0f}\n",
             preallocate ? "pre-written" : "growing", senders, bytes,
             static_cast<double>(stored) / elapsed,
             static_cast<double>(stored * bytes) / elapsed / 1e6, syncs / elapsed,
             static_cast<double>(stored) / syncs, waits[waits.size() / 2] * 1e6,
             waits[waits.size() * 99 / 100] * 1e6);
  std::filesystem::remove_all(folder);
}

std::uint64_t resident_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6));
  return 0;
}

/// Out of the page cache, as after a start of the machine.
void forget_pages(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const int file = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) continue;
    ::fdatasync(file);
    ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    ::close(file);
  }
}

void open_once(const std::filesystem::path& folder, const spool::Options& options,
               std::size_t bytes, std::uint64_t index_bytes, std::uint64_t disk_bytes, bool cold);

/// A spool of `total` bytes is made, and opened again.
void bench_open(const std::filesystem::path& folder, std::uint64_t total, std::size_t bytes) {
  PosixDisk disk;
  spool::Options options;
  options.bytes_max = 1ull << 50;
  std::uint64_t count = 0;
  if (const pid_t writer = fork(); writer == 0) {
    auto opened = spool::Spool::open(disk, log(), folder, options);
    if (!opened) _exit(1);
    for (std::uint64_t done = 0; done < total;) {
      std::vector<spool::Spool::Append> group;
      for (std::size_t size = 0; size < (8u << 20); size += bytes)
        group.push_back(batch(++count, bytes));
      if (!opened->spool->append(group)) _exit(1);
      done += group.size() * (bytes + spool::kRecordHeaderBytes);
      while (opened->spool->untidy()) opened->spool->tidy();
    }
    opened->spool.reset();
    _exit(0);
  } else {
    int status = 0;
    waitpid(writer, &status, 0);
    if (status != 0) return;
  }
  std::uint64_t disk_bytes = 0, index_bytes = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    disk_bytes += file.file_size();
    if (file.path().extension() == ".index") index_bytes += file.file_size();
  }
  for (const bool cold : {false, true}) {
    if (cold) forget_pages(folder);
    open_once(folder, options, bytes, index_bytes, disk_bytes, cold);
  }
  std::filesystem::remove_all(folder);
}

/// In a process of its own, so that its memory is that of opening.
void open_once(const std::filesystem::path& folder, const spool::Options& options,
               std::size_t bytes, std::uint64_t index_bytes, std::uint64_t disk_bytes, bool cold) {
  PosixDisk disk;
  if (fork() == 0) {
    const std::uint64_t before = resident_kib();
    const auto start = Clock::now();
    std::uint64_t entries = 0;
    auto opened =
        spool::Spool::open(disk, log(), folder, options, [&](const spool::Entry&) { ++entries; });
    if (!opened) _exit(1);
    const double elapsed = seconds_since(start);
    fmt::print("{:>8} {:>6} {:>10} {:>8.2f} {:>10.1f} {:>10.1f} {:>12.1f}\n", bytes,
               cold ? "cold" : "warm", entries, elapsed,
               static_cast<double>(resident_kib() - before) / 1024,
               static_cast<double>(index_bytes) / static_cast<double>(entries),
               static_cast<double>(disk_bytes) / static_cast<double>(entries) -
                   static_cast<double>(bytes));
    std::fflush(stdout);
    _exit(0);
  }
  wait(nullptr);
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2 || std::filesystem::exists(arguments[1])) {
    fmt::print(stderr,
               "usage: spool_bench FOLDER [GIB]; the folder is made, and removed at the end\n");
    return 2;
  }
  const std::filesystem::path folder = arguments[1];
  std::uint64_t gib = 10;
  if (count > 2) gib = std::stoull(arguments[2]);

  fmt::print(
      "append with group commit, 3 s each\n{:>11} {:>8} {:>8} {:>10} {:>8} {:>8} {:>9} {:>7} "
      "{:>7}\n",
      "segments", "senders", "bytes", "batches/s", "MB/s", "syncs/s", "per sync", "p50 us",
      "p99 us");
  for (const bool preallocate : {false, true, false, true})
    for (const auto& [senders, bytes] :
         {std::pair<std::size_t, std::size_t>{1, 4096}, {16, 4096}, {1000, 4096}, {16, 65'536}})
      bench_append(folder, preallocate, senders, bytes);

  if (gib == 0) return 0;
  fmt::print("\nopening {} GiB\n{:>8} {:>6} {:>10} {:>8} {:>10} {:>10} {:>12}\n", gib, "bytes",
             "cache", "batches", "seconds", "MiB", "index B", "overhead B");
  std::fflush(stdout);
  for (const std::size_t bytes : {1u << 20, 65'536u, 4096u}) bench_open(folder, gib << 30, bytes);
  return 0;
}
