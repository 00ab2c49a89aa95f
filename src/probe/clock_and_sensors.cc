#include <algorithm>
#include <map>

#include "probe/collectors.h"
#include "probe/text.h"

namespace postern {
namespace {

constexpr double kMillidegrees = 1000;

/// A whole number of millidegrees, which may be below zero.
std::optional<double> read_celsius(const Source& source, const std::string& path) {
  const auto text = source.read(path);
  if (!text) return std::nullopt;
  std::string_view digits = trim(*text);
  const bool below_zero = digits.starts_with('-');
  if (below_zero) digits.remove_prefix(1);
  const auto value = to_unsigned(digits);
  if (!value) return std::nullopt;
  const double celsius = static_cast<double>(*value) / kMillidegrees;
  return below_zero ? -celsius : celsius;
}

std::string text_or(const Source& source, const std::string& path, const std::string& fallback) {
  const auto text = source.read(path);
  return text && !trim(*text).empty() ? std::string(trim(*text)) : fallback;
}

std::vector<std::string> sorted_names(const Source& source, const std::string& path) {
  auto names = source.list(path).value_or(std::vector<std::string>());
  std::sort(names.begin(), names.end());
  return names;
}

class Thermometers {
 public:
  explicit Thermometers(Sample& sample) : sample_(sample) {}

  /// hwmonN/name, tempM_input, tempM_label. The numbers change from boot to boot, names do not.
  void read_hwmon() {
    const std::string root = "/sys/class/hwmon";
    for (const std::string& chip : sorted_names(sample_.source, root)) {
      const std::string folder = fmt::format("{}/{}", root, chip);
      const std::string name = text_or(sample_.source, fmt::format("{}/name", folder), chip);
      for (const std::string& file : sorted_names(sample_.source, folder)) {
        if (!file.starts_with("temp") || !file.ends_with("_input")) continue;
        const std::string sensor = file.substr(0, file.size() - 6);
        take(fmt::format("{}/{}", folder, file),
             fmt::format(
                 "{}/{}", name,
                 text_or(sample_.source, fmt::format("{}/{}_label", folder, sensor), sensor)));
      }
    }
  }

  void read_zones() {
    const std::string root = "/sys/class/thermal";
    for (const std::string& zone : sorted_names(sample_.source, root))
      if (zone.starts_with("thermal_zone"))
        take(fmt::format("{}/{}/temp", root, zone),
             text_or(sample_.source, fmt::format("{}/{}/type", root, zone), zone));
  }

  std::size_t found() const { return found_; }
  std::size_t read() const { return read_; }

 private:
  /// Sensors that sleep or are not connected cannot be read: one of many is nothing to report.
  void take(const std::string& path, std::string id) {
    if (++found_ > kSensorsMax) {
      if (found_ == kSensorsMax + 1) sample_.problem(over_limit("sensors", kSensorsMax));
      return;
    }
    const std::size_t same = ++ids_[id];
    if (same > 1) id += fmt::format("#{}", same);
    const auto celsius = read_celsius(sample_.source, path);
    if (!celsius) return;
    ++read_;
    sample_.gauge("hw.temperature", "Cel", *celsius, {{"hw.id", std::move(id)}});
  }

  Sample& sample_;
  std::map<std::string, std::size_t> ids_;
  std::size_t found_ = 0, read_ = 0;
};

}  // namespace

Result<> collect_clock(Sample& sample) {
  const auto clock = sample.source.clock();
  if (!clock) return std::unexpected(clock.error());
  sample.gauge("postern.clock.synchronised", "1", std::int64_t{clock->synchronised ? 1 : 0});
  sample.gauge("postern.clock.offset", "s", clock->offset_s);
  sample.gauge("postern.clock.error.max", "s", clock->error_max_s);
  return {};
}

/// The kernel shows most zones as hwmon as well: zones only where there is no hwmon.
Result<> collect_temperature(Sample& sample) {
  Thermometers thermometers(sample);
  thermometers.read_hwmon();
  if (thermometers.found() == 0) thermometers.read_zones();
  if (thermometers.found() > 0 && thermometers.read() == 0)
    return fail(Errc::unavailable, "none of {} temperature sensors can be read",
                thermometers.found());
  return {};
}

}  // namespace postern
