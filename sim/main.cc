#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "sim/driver.h"

int main(int argc, char** argv) {
  postern::sim::Wish wish;
  CLI::App app{"Simulates whole management groups with faults, and checks every promise."};
  app.add_option("--seed", wish.seed, "the first run; run k has seed + k");
  app.add_option("--runs", wish.runs, "how many runs")->check(CLI::PositiveNumber);
  app.add_option("--jobs", wish.jobs, "processes at a time (default: one a core)");
  app.add_flag("--trace", wish.trace, "print everything that happens");
  app.add_flag("--digests", wish.digests, "print each run's digest");
  app.add_flag("--coverage", wish.coverage, "print how often rare things were reached");
  app.add_flag("--stop-at-first", wish.stop_at_first, "end at the first promise that breaks");
  std::vector<std::string> only;
  app.add_option("--only", only, "of all faults only these, or none");
  std::vector<std::string> without;
  app.add_option("--without", without, "all faults but these");
  CLI11_PARSE(app, argc, argv);
  for (const std::string& name : only)
    if (!postern::sim::take_only(name, wish.options)) {
      std::fprintf(stderr, "sim: no fault is called '%s'\n", name.c_str());
      return 2;
    }
  for (const std::string& name : without)
    if (!postern::sim::take_without(name, wish.options)) {
      std::fprintf(stderr, "sim: no fault is called '%s'\n", name.c_str());
      return 2;
    }
  return postern::sim::drive(wish);
}
