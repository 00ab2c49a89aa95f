// How libFuzzer meets a target. `TARGET --seeds=FOLDER` writes the target's seeds there and ends.

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "fuzz/target.h"

namespace postern::fuzz {
namespace {

constexpr std::string_view kSeedsOption = "--seeds=";

int write_seeds(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  std::size_t number = 0;
  for (const Bytes& seed : seeds()) {
    std::ofstream file(folder / fmt::format("seed-{:03}", number++), std::ios::binary);
    file << as_text(seed);
    if (!file.flush()) return 1;
  }
  return number == 0 ? 1 : 0;
}

}  // namespace
}  // namespace postern::fuzz

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  for (int i = 1; i < *argc; ++i) {
    const std::string_view argument = (*argv)[i];
    if (argument.starts_with(postern::fuzz::kSeedsOption))
      std::exit(postern::fuzz::write_seeds(argument.substr(postern::fuzz::kSeedsOption.size())));
  }
  return 0;
}

// NOLINTNEXTLINE(readability-identifier-naming)
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  postern::fuzz::one_input(std::as_bytes(std::span(data, size)));
  return 0;
}
