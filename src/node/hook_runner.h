#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace postern::node {

inline constexpr Duration kHookTimeMax = std::chrono::minutes(5);
inline constexpr std::size_t kHookOutputBytesMax = 64u << 10;  // what is beyond is not shown
inline constexpr std::size_t kHookLineBytesMax = 1024;         // a longer one is several

/// May this program run with our rights? An absolute path of a file that we may execute; it and
/// every folder above it belong to root, to us or to `also_owner`, and nobody else may write there
/// (a folder with the sticky bit may be anybody's to write). `denied` names what is loose.
Result<> check_hook_program(const std::filesystem::path& program,
                            std::optional<unsigned> also_owner = std::nullopt);

/// One run of a program: no shell, an empty standard input, nothing else of ours but this
/// environment, a process group of its own.
struct HookRun {
  std::vector<std::string> command;                // the program, absolute, and its arguments
  std::map<std::string, std::string> environment;  // besides PATH
  Duration time_max = kHookTimeMax;
};

/// Runs it and returns when it has ended, or when `stop` is set or the time is over: then the whole
/// group is killed. What it leaves behind is killed in any case. What it says on standard output
/// and error goes to `say`, line by line, without control characters. The error says why it cannot
/// be begun, or how it ended otherwise than with status 0. Blocking; any thread.
Result<> run_hook(const HookRun& run, const Clock& clock, const std::atomic<bool>& stop,
                  const std::function<void(std::string_view line)>& say);

}  // namespace postern::node
