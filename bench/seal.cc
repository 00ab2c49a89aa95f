// What a batch costs in processor time at its origin and at its end: seal_bench FOLDER [JSON].
//
// Sealing (number, chain, hash, signature) beside the bare signature, and verifying and applying
// beside the bare verification, in the same run. FOLDER is made for the store and removed.

#include <filesystem>

#include "bench/report.h"
#include "identity/key.h"
#include "node/outbox.h"
#include "store/store.h"

namespace {

using namespace postern;  // NOLINT: a program of its own
using bench::seconds_since;

constexpr int kRuns = 5;
constexpr std::size_t kBatches = 1024;  // a run
constexpr std::size_t kGroup = 256;     // in one transaction, as the server does

Payload payload_of(std::size_t bytes) {
  Payload payload;
  payload.compressed.assign(bytes, std::byte{0x5a});
  payload.raw_bytes = static_cast<std::uint32_t>(bytes);
  payload.records = 100;
  return payload;
}

/// Seconds for each of kBatches, the median of several runs.
template <typename Work>
double each(Work&& work) {
  std::vector<double> runs;
  for (int run = 0; run < kRuns; ++run) {
    const auto start = bench::Clock::now();
    work();
    runs.push_back(seconds_since(start) / kBatches);
  }
  return bench::median(runs);
}

std::vector<node::Outbox::Sealed> seal_all(node::Outbox& outbox, std::size_t bytes) {
  const Payload payload = payload_of(bytes);
  std::vector<node::Outbox::Sealed> sealed;
  for (std::size_t i = 0; i < kBatches; ++i)
    sealed.push_back(outbox.seal(wire::Lane::event, wire::PayloadKind::logs, payload,
                                 wall_from_ms(1'800'000'000'000)));
  return sealed;
}

/// Verified and committed, `fresh` runs with nothing applied before.
double apply_all(store::Store& store, const PublicKey& key,
                 const std::vector<node::Outbox::Sealed>& all) {
  const auto start = bench::Clock::now();
  for (std::size_t from = 0; from < all.size(); from += kGroup) {
    std::vector<store::Apply> group;
    for (std::size_t i = from; i < from + kGroup; ++i) {
      auto stamped = wire::read_stamped(*all[i].message);
      auto batch = wire::read_batch(stamped->body);
      if (!key.verifies(wire::kBatchContext, batch->signed_part, batch->header.signature) ||
          sha256(batch->payload) != batch->header.payload_hash)
        return 0;
      group.push_back({batch->header, all[i].hash, all[i].message, {}, wall_from_ms(1)});
    }
    if (!store.apply(group)) return 0;
    if (!store.tidy()) return 0;
  }
  return seconds_since(start) / kBatches;
}

void bench_size(bench::Report& report, const std::filesystem::path& folder, std::size_t bytes) {
  const PrivateKey key = PrivateKey::generate();
  const Bytes header(152);
  const double sign = each([&] {
    for (std::size_t i = 0; i < kBatches; ++i) (void)key.sign(wire::kBatchContext, header);
  });
  node::Outbox outbox(key, {1, 7});
  const double seal = each([&] { (void)seal_all(outbox, bytes); });
  const Signature signature = key.sign(wire::kBatchContext, header);
  const double verify = each([&] {
    for (std::size_t i = 0; i < kBatches; ++i)
      (void)key.public_key().verifies(wire::kBatchContext, header, signature);
  });
  std::vector<double> applies;
  for (int run = 0; run < kRuns; ++run) {
    node::Outbox fresh(key, {1, static_cast<std::uint64_t>(100 + run)});
    const auto all = seal_all(fresh, bytes);
    auto store = store::open_sqlite((folder / fmt::format("{}-{}.db", bytes, run)).string());
    if (store) applies.push_back(apply_all(**store, key.public_key(), all));
  }
  const std::string size = fmt::format("batches of {} KiB: ", bytes / 1024);
  report.add(size + "seal and sign", seal * 1e6, "us");
  report.add(size + "seal and sign, against the signature alone", seal / sign, "x");
  report.add(size + "verify and apply (SQLite, 256 in one commit)", bench::median(applies) * 1e6,
             "us");
  report.add(size + "verify and apply, against the verification alone",
             bench::median(applies) / verify, "x");
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2 || std::filesystem::exists(arguments[1])) {
    fmt::print(stderr, "usage: seal_bench FOLDER [JSON]; the folder is made, and removed\n");
    return 2;
  }
  const std::filesystem::path folder = arguments[1];
  std::filesystem::create_directories(folder);
  bench::Report report;
  for (const std::size_t bytes : {4096u, 65'536u}) bench_size(report, folder, bytes);
  std::filesystem::remove_all(folder);
  return count < 3 || report.write(arguments[2]) ? 0 : 1;
}
