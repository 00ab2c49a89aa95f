#pragma once

// What every bench prints and leaves behind: rows of figures, as text and as JSON, with the machine
// they were measured on.

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>
#include <vector>

namespace postern::bench {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class Report {
 public:
  void add(std::string what, double value, std::string unit) {
    fmt::print("{:<58} {:>14.4g} {}\n", what, value, unit);
    std::fflush(stdout);
    rows_.push_back({std::move(what), value, std::move(unit)});
  }
  /// False when the file cannot be written.
  bool write(const std::string& path) const {
    utsname machine{};
    ::uname(&machine);
    std::ofstream out(path);
    out << fmt::format(
        "{{\"kernel\": \"{}\", \"architecture\": \"{}\", \"processors\": {},\n\"rows\": [",
        machine.release, machine.machine, ::sysconf(_SC_NPROCESSORS_ONLN));
    for (std::size_t i = 0; i < rows_.size(); ++i)
      out << fmt::format("{}\n  {{\"what\": \"{}\", \"value\": {}, \"unit\": \"{}\"}}",
                         i == 0 ? "" : ",", rows_[i].what, rows_[i].value, rows_[i].unit);
    out << "\n]}\n";
    return out.flush().good();
  }

 private:
  struct Row {
    std::string what;
    double value;
    std::string unit;
  };
  std::vector<Row> rows_;
};

}  // namespace postern::bench
