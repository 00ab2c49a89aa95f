// crowd FOLDER: many agents in one process, for tests with real processes; never shipped.
//
//   crowd --request FOLDER   writes, where they are missing, FOLDER/NAME/certificates/NAME.key and
//                            NAME.csr for each FOLDER/NAME/agent.yaml
//   crowd FOLDER             imports what was signed (NAME.pem and the group's file beside it)
//   where
//                            nothing is installed yet, and runs all agents until SIGTERM
//
// Each agent is the production class with its own settings, identity, spool and connection. Three
// things differ from as many postern-agent: they share one loop and a few threads for their files,
// their spools' segments are small, and what they measure is made up.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string_view>
#include <vector>

#include "agent/agent.h"
#include "crowd/made_up_sampler.h"
#include "crowd/shared_workers.h"
#include "identity/authority.h"
#include "identity/import.h"
#include "node/program.h"

namespace postern {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFileThreads = 4;
constexpr std::uint64_t kSegmentBytes = 256 << 10;

Result<std::vector<NodeSettings>> load_all(Disk& disk, const fs::path& folder) {
  std::vector<NodeSettings> all;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const fs::path file = entry.path() / "agent.yaml";
    if (!fs::exists(file)) continue;
    auto settings = load_node_settings(disk, file, NodeRole::agent);
    if (!settings) return std::unexpected(settings.error());
    all.push_back(std::move(*settings));
  }
  if (all.empty()) return fail(Errc::invalid, "no {}/NAME/agent.yaml is there", folder.string());
  std::ranges::sort(all, {}, &NodeSettings::name);
  return all;
}

Result<> request(Disk& disk, const fs::path& folder, const NodeSettings& agent) {
  const fs::path store = folder / agent.name / "certificates",
                 key_file = store / (agent.name + ".key"),
                 request_file = store / (agent.name + ".csr");
  if (fs::exists(request_file)) return {};
  if (auto made = disk.make_directories(store); !made) return made;
  const TlsKey key = TlsKey::generate(TlsKey::Kind::ec);
  const auto csr = make_request(key, agent.name, {});
  if (!csr) return std::unexpected(csr.error());
  if (auto kept = disk.write_file(key_file, as_bytes(key.to_pem()), 0600); !kept) return kept;
  return disk.write_file(request_file, as_bytes(*csr), 0644);
}

Result<> import_where_missing(const node::Surroundings& around, const fs::path& folder,
                              const NodeSettings& agent) {
  if (StateFolder(around.disk, agent.state_dir).chain()) return {};
  const auto report = import_certificate(
      around.disk,
      {agent.name, folder / agent.name / "certificates", agent.state_dir, around.clock.wall()});
  if (!report) return std::unexpected(report.error());
  return {};
}

/// All agents, and what each has of its own around it.
class Crowd {
 public:
  explicit Crowd(node::Surroundings around) : around_(around) {}

  Result<> add(const NodeSettings& settings) {
    logs_.push_back(std::make_unique<Log>(
        settings.log_level,
        [&log = around_.log, name = settings.name](Level level, std::string_view line) {
          say(log, level, name, line);
        }));
    node::Surroundings own{around_.loops, *logs_.back(),   around_.clock, around_.random,
                           around_.disk,  around_.network, workers_,      samplers_};
    own.spool_segment_bytes = kSegmentBytes;
    auto agent = Agent::open(own, settings);
    if (!agent) return fail(agent.error().code, "{}: {}", settings.name, agent.error().message);
    agents_.push_back(std::move(*agent));
    return {};
  }
  void stop(const std::string& why) {
    for (const auto& agent : agents_) agent->stop(why);
  }
  std::size_t size() const { return agents_.size(); }

 private:
  static void say(const Log& log, Level level, const std::string& name, std::string_view line) {
    if (level >= Level::error) return log.error("{}: {}", name, line);
    if (level == Level::warning) return log.warning("{}: {}", name, line);
    log.info("{}: {}", name, line);
  }

  const node::Surroundings around_;
  SharedWorkers workers_{kFileThreads};
  MadeUpSamplers samplers_;
  std::vector<std::unique_ptr<Log>> logs_;
  std::vector<std::unique_ptr<Agent>> agents_;  // last: they use all of the above
};

int run(const fs::path& folder, const std::vector<NodeSettings>& all) {
  // The process itself says when all run, however little the agents say.
  return node::run_program(
      Level::info, 0, folder, [&](node::Surroundings around) -> Result<node::Running> {
        auto crowd = std::make_shared<Crowd>(around);
        for (const NodeSettings& settings : all) {
          if (auto ready = import_where_missing(around, folder, settings); !ready)
            return std::unexpected(ready.error());
          if (auto added = crowd->add(settings); !added) return std::unexpected(added.error());
        }
        around.log.info("{} agents run", crowd->size());
        return node::Running{
            crowd, {}, [crowd = crowd.get()](const std::string& why) { crowd->stop(why); }};
      });
}

int main_of(const std::vector<std::string_view>& words) {
  const bool requests = words.size() == 2 && words.front() == "--request";
  if (!requests && words.size() != 1) {
    std::fputs("crowd [--request] FOLDER; tools/crowd/main.cc says more\n", stderr);
    return 2;
  }
  PosixDisk disk;
  const fs::path folder = words.back();
  const auto all = load_all(disk, folder);
  if (!all) {
    fmt::print(stderr, "crowd: {}\n", all.error().message);
    return 1;
  }
  if (!requests) return run(folder, *all);
  for (const NodeSettings& agent : *all)
    if (auto made = request(disk, folder, agent); !made) {
      fmt::print(stderr, "crowd: {}: {}\n", agent.name, made.error().message);
      return 1;
    }
  return 0;
}

}  // namespace
}  // namespace postern

int main(int argc, char** argv) { return postern::main_of({argv + 1, argv + argc}); }
