#include "settings/settings.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <regex>
#include <set>

#include "base/quantity.h"

namespace postern {
namespace {

constexpr Duration kIntervalMin = std::chrono::seconds(1);
constexpr Duration kIntervalMax = std::chrono::hours(1);
constexpr Duration kGraceMax = std::chrono::hours(24 * 365);
constexpr Duration kLifetimeMin = std::chrono::seconds(10);
constexpr Duration kLifetimeMax = std::chrono::hours(24 * 3652);
constexpr Duration kCollectorIntervalMax = std::chrono::hours(24);
constexpr std::uint64_t kSpoolBytesMin = 64ull << 20;
constexpr std::uint64_t kSpoolBytesMax = 1ull << 50;

/// A mapping of the file that is read key by key: whatever is left over at the end is unknown.
class Section {
 public:
  bool is_word(const char* key, const char* word) {
    known_.insert(key);
    return node_[key] && node_[key].IsScalar() && node_[key].Scalar() == word;
  }
  bool has(const char* key) const { return node_[key].IsDefined(); }
  /// The entries of a list, each a section of its own.
  Result<std::vector<Section>> list(const char* key, std::size_t count_max) {
    known_.insert(key);
    const YAML::Node value = node_[key];
    std::vector<Section> entries;
    if (!value) return entries;
    if (!value.IsSequence() || value.size() > count_max)
      return fail(Errc::invalid, "{}:{}: {} must be a list of at most {} sections", file_,
                  value.Mark().line + 1, name(key), count_max);
    for (const YAML::Node& entry : value) {
      if (!entry.IsMap())
        return fail(Errc::invalid, "{}:{}: {}: each entry must be a section of key: value", file_,
                    entry.Mark().line + 1, name(key));
      entries.emplace_back(entry, file_, name(key));
    }
    return entries;
  }

  Section(YAML::Node node, std::string file, std::string path)
      : node_(std::move(node)), file_(std::move(file)), path_(std::move(path)) {}

  template <typename T, typename Parse>
  Result<> field(const char* key, T& into, Parse parse, bool required = false) {
    known_.insert(key);
    const YAML::Node value = node_[key];
    if (!value) {
      if (required) return fail(Errc::invalid, "{}: {} is missing", file_, name(key));
      return {};
    }
    auto parsed = parse(value);
    if (!parsed)
      return fail(Errc::invalid, "{}:{}: {}: {}", file_, value.Mark().line + 1, name(key),
                  parsed.error().message);
    into = std::move(*parsed);
    return {};
  }

  Result<Section> section(const char* key) {
    known_.insert(key);
    const YAML::Node value = node_[key];
    if (value && !value.IsMap())
      return fail(Errc::invalid, "{}:{}: {} must be a section of key: value", file_,
                  value.Mark().line + 1, name(key));
    return Section(value ? value : YAML::Node(YAML::NodeType::Map), file_, name(key));
  }

  /// Something is wrong with this key, which may not be there at all.
  template <typename... Values>
  std::unexpected<Error> objection(const char* key, fmt::format_string<Values...> words,
                                   Values&&... values) const {
    const YAML::Node& at = node_[key] ? node_[key] : node_;
    return fail(Errc::invalid, "{}:{}: {}: {}", file_, at.Mark().line + 1, name(key),
                fmt::format(words, std::forward<Values>(values)...));
  }

  bool is_section(const char* key) const { return node_[key] && node_[key].IsMap(); }

  Result<> nothing_else() const {
    for (const auto& entry : node_) {
      const auto key = entry.first.as<std::string>("");
      if (known_.contains(key)) continue;
      std::string known;
      for (const std::string& k : known_) known += (known.empty() ? "" : ", ") + k;
      return fail(Errc::invalid, "{}:{}: unknown key {}; known here are: {}", file_,
                  entry.first.Mark().line + 1, name(key.c_str()), known);
    }
    return {};
  }

  std::string name(const char* key) const { return path_.empty() ? key : path_ + "." + key; }

 private:
  YAML::Node node_;
  std::string file_, path_;
  std::set<std::string> known_;
};

Result<std::string> text(const YAML::Node& value) {
  if (!value.IsScalar() || value.Scalar().empty())
    return fail(Errc::invalid, "it must be a text that is not empty");
  return value.Scalar();
}

Result<std::string> host_name(const YAML::Node& value) {
  auto name = text(value);
  if (!name) return name;
  std::transform(name->begin(), name->end(), name->begin(),
                 [](unsigned char c) { return std::tolower(c); });
  const bool plain = std::all_of(name->begin(), name->end(), [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '.';
  });
  if (!plain || name->find('.') == std::string::npos || name->size() > 253)
    return fail(Errc::invalid, "'{}' is not a fully qualified domain name, like gw1.example.net",
                *name);
  return name;
}

Result<std::filesystem::path> absolute_path(const YAML::Node& value) {
  auto path = text(value);
  if (!path) return std::unexpected(path.error());
  if ((*path)[0] != '/') return fail(Errc::invalid, "'{}' must be an absolute path", *path);
  return std::filesystem::path(*path);
}

Result<Endpoint> endpoint(const YAML::Node& value) {
  auto written = text(value);
  if (!written) return std::unexpected(written.error());
  return parse_endpoint(*written);
}

Result<Duration> duration(const YAML::Node& value, Duration min, Duration max) {
  auto written = text(value);
  if (!written) return std::unexpected(written.error());
  auto parsed = parse_duration(*written);
  if (!parsed) return parsed;
  if (*parsed < min || *parsed > max)
    return fail(Errc::invalid, "{} is outside of {} to {}", *written, format_duration(min),
                format_duration(max));
  return parsed;
}

Result<Duration> interval(const YAML::Node& value) {
  return duration(value, kIntervalMin, kIntervalMax);
}

Result<CollectorSetting> collector(const YAML::Node& value) {
  const std::string word = value.IsScalar() ? value.Scalar() : "";
  if (!value.IsMap() && word != "on" && word != "off")
    return fail(Errc::invalid, "it must be on, off or {{interval: DURATION}}");
  return CollectorSetting{word != "off", std::nullopt};
}

Result<> read_collectors(Section section, CollectorSettings& into) {
  const auto collector_interval = [](const YAML::Node& value) {
    return duration(value, kIntervalMin, kCollectorIntervalMax);
  };
  for (const CollectorId id : all_collectors()) {
    const std::string name(name_of(id));
    CollectorSetting& setting = into[index_of(id)];
    if (auto done = section.field(name.c_str(), setting, collector); !done) return done;
    if (!section.is_section(name.c_str())) continue;
    auto one = section.section(name.c_str());
    if (!one) return std::unexpected(one.error());
    if (auto done = one->field("interval", setting.interval, collector_interval); !done)
      return done;
    if (auto done = one->nothing_else(); !done) return done;
  }
  return section.nothing_else();
}

Result<std::uint64_t> size(const YAML::Node& value, std::uint64_t min, std::uint64_t max) {
  auto written = text(value);
  if (!written) return std::unexpected(written.error());
  auto parsed = parse_bytes(*written);
  if (!parsed) return parsed;
  if (*parsed < min || *parsed > max)
    return fail(Errc::invalid, "{} is outside of {} to {}", *written, format_bytes(min),
                format_bytes(max));
  return parsed;
}

Result<ParentSetting> parent(const YAML::Node& value) {
  if (value.IsScalar()) {
    auto dial = parse_endpoint(value.Scalar());
    if (!dial) return std::unexpected(dial.error());
    auto name = host_name(YAML::Node(dial->host));
    if (!name)
      return fail(Errc::invalid, "{}; for a bare address write {{name: FQDN, address: IP:PORT}}",
                  name.error().message);
    return ParentSetting{*name, {*name, dial->port}};
  }
  if (!value.IsMap() || !value["name"] || !value["address"] || value.size() != 2)
    return fail(Errc::invalid, "a parent is NAME[:PORT] or {{name: FQDN, address: IP:PORT}}");
  auto name = host_name(value["name"]);
  if (!name) return std::unexpected(name.error());
  auto dial = endpoint(value["address"]);
  if (!dial) return std::unexpected(dial.error());
  return ParentSetting{*name, *dial};
}

Result<std::vector<ParentSetting>> parents(const YAML::Node& value) {
  if (!value.IsSequence() || value.size() == 0)
    return fail(Errc::invalid, "it must be a list with at least one parent, the primary first");
  std::vector<ParentSetting> list;
  for (const YAML::Node& entry : value) {
    auto one = parent(entry);
    if (!one) return std::unexpected(one.error());
    for (const ParentSetting& before : list)
      if (before.name == one->name) return fail(Errc::invalid, "{} is named twice", one->name);
    list.push_back(std::move(*one));
  }
  return list;
}

Result<Level> level(const YAML::Node& value) {
  static const std::map<std::string, Level> kLevels{{"debug", Level::debug},
                                                    {"info", Level::info},
                                                    {"warning", Level::warning},
                                                    {"error", Level::error}};
  const auto found = kLevels.find(value.IsScalar() ? value.Scalar() : "");
  if (found == kLevels.end())
    return fail(Errc::invalid, "it must be debug, info, warning or error");
  return found->second;
}

Result<ServerSettings::AgentPolicy> policy(const YAML::Node& value) {
  using Policy = ServerSettings::AgentPolicy;
  static const std::map<std::string, Policy> kPolicies{{"pending", Policy::pending},
                                                       {"auto-approve", Policy::auto_approve},
                                                       {"reject", Policy::reject}};
  const auto found = kPolicies.find(value.IsScalar() ? value.Scalar() : "");
  if (found == kPolicies.end())
    return fail(Errc::invalid, "it must be pending, auto-approve or reject");
  return found->second;
}

Result<std::string> store_url(const YAML::Node& value) {
  auto url = text(value);
  if (!url) return url;
  for (const std::string_view scheme : {"postgresql://", "postgres://"}) {
    if (!url->starts_with(scheme)) continue;
    // Not repeated: what a log or a terminal shows is no secret any more.
    const std::string_view rest = std::string_view(*url).substr(scheme.size());
    const std::string_view authority = rest.substr(0, rest.find_first_of("/?"));
    const std::string_view user = authority.substr(0, authority.rfind('@'));
    const bool named = user.size() != authority.size();
    if ((named && user.find(':') != user.npos) || rest.find("password=") != rest.npos)
      return fail(Errc::invalid,
                  "the URL holds a password, which lists of processes and logs would show; put it "
                  "in a file of mode 0600 and name that: store_password_file: /PATH");
    return url;
  }
  if (!url->starts_with("sqlite:/"))
    return fail(Errc::invalid,
                "'{}' is no store this version has; write sqlite:/PATH or "
                "postgresql://USER@HOST/DATABASE",
                *url);
  return url;
}

Result<std::vector<std::string>> addresses(const YAML::Node& value) {
  if (!value.IsSequence()) return fail(Errc::invalid, "it must be a list of HOST[:PORT]");
  std::vector<std::string> list;
  for (const YAML::Node& entry : value) {
    auto one = endpoint(entry);
    if (!one) return std::unexpected(one.error());
    list.push_back(to_string(*one));
  }
  return list;
}

Result<std::vector<AddressRange>> address_ranges(const YAML::Node& value) {
  if (!value.IsSequence()) return fail(Errc::invalid, "it must be a list of ADDRESS[/BITS]");
  std::vector<AddressRange> list;
  for (const YAML::Node& entry : value) {
    auto written = text(entry);
    if (!written) return std::unexpected(written.error());
    auto one = AddressRange::parse(*written);
    if (!one) return std::unexpected(one.error());
    list.push_back(std::move(*one));
  }
  return list;
}

constexpr std::size_t kCrlFilesMax = 64;

Result<std::vector<std::string>> crl_files(const YAML::Node& value) {
  if (!value.IsSequence() || value.size() > kCrlFilesMax)
    return fail(Errc::invalid, "it must be a list of at most {} files", kCrlFilesMax);
  std::vector<std::string> list;
  for (const YAML::Node& entry : value) {
    auto one = text(entry);
    if (!one) return std::unexpected(one.error());
    if (!one->starts_with('/')) return fail(Errc::invalid, "'{}' must be an absolute path", *one);
    list.push_back(std::move(*one));
  }
  return list;
}

constexpr std::size_t kHookWordsMax = 32;
constexpr std::size_t kHookWordBytesMax = 4096;

Result<std::vector<std::string>> program_and_arguments(const YAML::Node& value) {
  if (!value.IsSequence() || value.size() > kHookWordsMax)
    return fail(Errc::invalid,
                "it must be a list of a program and its arguments, at most {} words: "
                "[/usr/local/bin/renew, --quiet]",
                kHookWordsMax);
  std::vector<std::string> words;
  for (const YAML::Node& entry : value) {
    auto word = text(entry);
    if (!word) return std::unexpected(word.error());
    if (word->size() > kHookWordBytesMax || word->find('\0') != std::string::npos)
      return fail(Errc::invalid, "a word may have {} bytes and no zero byte", kHookWordBytesMax);
    words.push_back(std::move(*word));
  }
  if (!words.empty() && !words.front().starts_with('/'))
    return fail(Errc::invalid, "'{}' must be an absolute path: it is run without a shell",
                words.front());
  return words;
}

constexpr std::size_t kEventFilesMax = 64;
constexpr std::size_t kPatternBytesMax = 256;
constexpr std::uint32_t kEventRateMin = 1, kEventRateMax = 100'000;

/// Syslog's words; the number is the place.
Result<unsigned> priority(const YAML::Node& value) {
  static const std::vector<std::string> kWords{"emergency", "alert",  "critical", "error",
                                               "warning",   "notice", "info",     "debug"};
  const auto found =
      std::find(kWords.begin(), kWords.end(), value.IsScalar() ? value.Scalar() : "");
  if (found == kWords.end())
    return fail(Errc::invalid,
                "it must be emergency, alert, critical, error, warning, notice, info or debug");
  return static_cast<unsigned>(found - kWords.begin());
}

Result<std::string> severity(const YAML::Node& value) {
  if (auto known = priority(value); !known) return std::unexpected(known.error());
  return value.Scalar();
}

Result<std::string> pattern(const YAML::Node& value) {
  auto written = text(value);
  if (!written) return written;
  if (written->size() > kPatternBytesMax)
    return fail(Errc::invalid, "it has {} characters, at most {} are allowed", written->size(),
                kPatternBytesMax);
  try {
    (void)std::regex(*written, std::regex::ECMAScript);
  } catch (const std::regex_error& e) {
    return fail(Errc::invalid, "'{}' is no regular expression: {}", *written, e.what());
  }
  return written;
}

Result<bool> from_beginning(const YAML::Node& value) {
  const std::string word = value.IsScalar() ? value.Scalar() : "";
  if (word != "end" && word != "beginning")
    return fail(Errc::invalid, "it must be end or beginning");
  return word == "beginning";
}

Result<std::uint32_t> event_rate(const YAML::Node& value) {
  auto written = text(value);
  if (!written) return std::unexpected(written.error());
  std::uint32_t rate = 0;
  const auto [end, error] =
      std::from_chars(written->data(), written->data() + written->size(), rate);
  if (error != std::errc{} || end != written->data() + written->size() || rate < kEventRateMin ||
      rate > kEventRateMax)
    return fail(Errc::invalid, "'{}' is no number from {} to {}", *written, kEventRateMin,
                kEventRateMax);
  return rate;
}

Result<> read_event_files(Section& section, EventSettings::Files& into) {
  const auto path = [](const YAML::Node& value) -> Result<std::string> {
    auto absolute = absolute_path(value);
    if (!absolute) return std::unexpected(absolute.error());
    return absolute->string();
  };
  if (auto done = section.field("path", into.path, path, true); !done) return done;
  if (auto done = section.field("severity", into.severity, severity); !done) return done;
  if (auto done = section.field("from", into.from_beginning, from_beginning); !done) return done;
  auto multiline = section.section("multiline");
  if (!multiline) return std::unexpected(multiline.error());
  if (section.has("multiline")) {
    if (auto done = multiline->field("start", into.multiline_start, pattern, true); !done)
      return done;
    if (auto done = multiline->nothing_else(); !done) return done;
  }
  return section.nothing_else();
}

Result<> read_events(Section& events, EventSettings& into) {
  if (events.is_word("journal", "off")) {
    into.journal = EventSettings::Journal::off;
  } else {
    auto journal = events.section("journal");
    if (!journal) return std::unexpected(journal.error());
    if (events.has("journal")) into.journal = EventSettings::Journal::on;
    if (auto done = journal->field("priority", into.journal_priority, priority); !done) return done;
    if (auto done = journal->nothing_else(); !done) return done;
  }
  auto entries = events.list("files", kEventFilesMax);
  if (!entries) return std::unexpected(entries.error());
  for (Section& entry : *entries) {
    EventSettings::Files files;
    if (auto done = read_event_files(entry, files); !done) return done;
    into.files.push_back(std::move(files));
  }
  if (auto done = events.field("records_per_second_max", into.records_per_second_max, event_rate);
      !done)
    return done;
  return events.nothing_else();
}

/// Runs the steps in order and stops at the first error.
Result<> all(std::initializer_list<std::function<Result<>()>> steps) {
  for (const auto& step : steps)
    if (auto done = step(); !done) return done;
  return {};
}

Result<double> percent(const YAML::Node& value) {
  auto written = text(value);
  if (!written) return std::unexpected(written.error());
  unsigned number = 0;
  const char* end = written->data() + written->size();
  const auto [rest, error] = std::from_chars(written->data(), end, number);
  if (error != std::errc{} || std::string_view(rest, end) != "%" || number < 1 || number > 100)
    return fail(Errc::invalid, "'{}' is no share from 1% to 100%", *written);
  return number;
}

Result<double> share(const YAML::Node& value) {
  auto hundredths = percent(value);
  if (!hundredths) return hundredths;
  return *hundredths / 100;
}

Result<int> heartbeats(const YAML::Node& value) {
  auto written = text(value);
  if (!written) return std::unexpected(written.error());
  int number = 0;
  const char* end = written->data() + written->size();
  const auto [rest, error] = std::from_chars(written->data(), end, number);
  if (error != std::errc{} || rest != end || number < 2 || number > 100)
    return fail(Errc::invalid, "'{}' is no number from 2 to 100", *written);
  return number;
}

Result<double> seconds(const YAML::Node& value) {
  auto span = duration(value, std::chrono::seconds(1), std::chrono::hours(24 * 30));
  if (!span) return std::unexpected(span.error());
  return std::chrono::duration<double>(*span).count();
}

/// `{warning: ..., critical: ...}`; each is worse than the one before it.
Result<> read_levels(Section& alerts, const char* key, Result<double> (*parse)(const YAML::Node&),
                     double& warning, double& critical, bool rising) {
  auto levels = alerts.section(key);
  if (!levels) return std::unexpected(levels.error());
  if (auto done = levels->field("warning", warning, parse); !done) return done;
  if (auto done = levels->field("critical", critical, parse); !done) return done;
  if (rising ? critical <= warning : critical >= warning)
    return alerts.objection(key, "critical must be {} warning", rising ? "above" : "below");
  return levels->nothing_else();
}

Result<> read_alerts(Section alerts, AlertLimits& into) {
  const auto span = [](const YAML::Node& value) {
    return duration(value, std::chrono::seconds(1), std::chrono::hours(24 * 365));
  };
  double clock_warning = into.clock_warning.open, clock_critical = into.clock_critical.open;
  double fill_warning = into.fill_warning.open, fill_critical = into.fill_critical.open;
  double age = into.age_warning.open;
  auto read = all({
      [&] { return alerts.field("heartbeats_missed", into.heartbeats_missed, heartbeats); },
      [&] { return alerts.field("never_connected_after", into.never_connected_after, span); },
      [&] { return read_levels(alerts, "clock", seconds, clock_warning, clock_critical, true); },
      [&] { return read_levels(alerts, "spool_fill", percent, fill_warning, fill_critical, true); },
      [&] { return alerts.field("spool_age", age, seconds); },
      [&] {
        return read_levels(alerts, "certificate", share, into.certificate_warning,
                           into.certificate_critical, false);
      },
      [&] { return alerts.field("finding_quiet", into.finding_quiet, span); },
      [&] { return alerts.nothing_else(); },
  });
  if (!read) return read;
  into.clock_warning = into.clock_warning.at(clock_warning);
  into.clock_critical = into.clock_critical.at(clock_critical);
  into.fill_warning = into.fill_warning.at(fill_warning);
  into.fill_critical = into.fill_critical.at(fill_critical);
  into.age_warning = into.age_warning.at(age);
  return {};
}

Result<Section> root_of(std::string_view text, const std::string& file) {
  try {
    YAML::Node node = YAML::Load(std::string(text));
    if (!node.IsMap()) return fail(Errc::invalid, "{}: it must hold key: value lines", file);
    return Section(node, file, "");
  } catch (const YAML::Exception& e) {
    return fail(Errc::invalid, "{}:{}: {}", file, e.mark.line + 1, e.msg);
  }
}

Result<> read_certificates(Section& root, CertificateSettings& into, bool server) {
  auto section = root.section("certificates");
  if (!section) return std::unexpected(section.error());
  const auto on_or_off = [](const YAML::Node& value) -> Result<bool> {
    const std::string word = value.IsScalar() ? value.Scalar() : "";
    if (word != "on" && word != "off") return fail(Errc::invalid, "it must be on or off");
    return word == "on";
  };
  const auto grace = [](const YAML::Node& v) { return duration(v, Duration(0), kGraceMax); };
  const auto lifetime = [](const YAML::Node& v) { return duration(v, kLifetimeMin, kLifetimeMax); };
  if (auto done = section->field("renew", into.renew, on_or_off); !done) return done;
  if (auto done = section->field("expiry_grace", into.expiry_grace, grace); !done) return done;
  const auto refuses = [](const YAML::Node& value) -> Result<bool> {
    const std::string word = value.IsScalar() ? value.Scalar() : "";
    if (word != "warn" && word != "refuse") return fail(Errc::invalid, "it must be warn or refuse");
    return word == "refuse";
  };
  if (auto done = section->field("crl", into.crl, crl_files); !done) return done;
  if (auto done = section->field("stale_crl", into.refuse_on_stale_crl, refuses); !done)
    return done;
  if (auto done = section->field("folder", into.folder, absolute_path); !done) return done;
  // What it needs stands in the file before or behind it.
  const auto hook = [&](const YAML::Node& value) -> Result<std::vector<std::string>> {
    auto words = program_and_arguments(value);
    if (words && !words->empty() && into.folder.empty())
      return fail(Errc::invalid,
                  "it needs certificates.folder, where it leaves what it has fetched");
    return words;
  };
  if (auto done = section->field("hook", into.hook, hook); !done) return done;
  const auto late = [](const YAML::Node& v) { return duration(v, Duration(0), kLifetimeMax); };
  if (server) {
    if (auto done = section->field("lifetime", into.lifetime, lifetime); !done) return done;
    if (auto done = section->field("renew_expired", into.renew_expired, late); !done) return done;
  }
  return section->nothing_else();
}

}  // namespace

Result<ParentSetting> parse_parent(std::string_view text) {
  const std::size_t at = text.find('=');
  YAML::Node node;
  if (at == std::string_view::npos) {
    node = std::string(text);
  } else {
    node["name"] = std::string(text.substr(0, at));
    node["address"] = std::string(text.substr(at + 1));
  }
  auto one = parent(node);
  if (!one)
    return fail(Errc::invalid, "'{}' is no NAME[:PORT] and no NAME=ADDRESS[:PORT]: {}", text,
                one.error().message);
  return one;
}

Result<Endpoint> parse_endpoint(std::string_view written) {
  Endpoint result;
  std::string_view port;
  if (written.starts_with('[')) {
    const auto end = written.find(']');
    if (end == std::string_view::npos)
      return fail(Errc::invalid, "'{}' has no closing bracket", written);
    result.host = written.substr(1, end - 1);
    if (result.host.find(':') == std::string::npos)
      return fail(Errc::invalid, "'{}': brackets are for IPv6 addresses, like [2001:db8::1]:5723",
                  written);
    port = written.substr(end + 1);
    if (!port.empty() && port[0] != ':')
      return fail(Errc::invalid, "'{}' is not HOST[:PORT]", written);
    if (!port.empty()) port.remove_prefix(1);
  } else {
    const auto colon = written.rfind(':');
    if (colon != std::string_view::npos && written.find(':') != colon)
      return fail(Errc::invalid, "'{}': write an IPv6 address in brackets, like [2001:db8::1]:5723",
                  written);
    result.host = written.substr(0, colon);
    if (colon != std::string_view::npos) port = written.substr(colon + 1);
    if (colon != std::string_view::npos && port.empty())
      return fail(Errc::invalid, "'{}' has no port after the colon", written);
  }
  if (result.host.empty()) return fail(Errc::invalid, "'{}' names no host", written);
  if (!port.empty()) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), value);
    if (error != std::errc{} || end != port.data() + port.size() || value > 65535)
      return fail(Errc::invalid, "'{}' is not a port from 0 to 65535", port);
    result.port = static_cast<std::uint16_t>(value);
  }
  return result;
}

std::vector<AddressRange> ServerSettings::loopback() {
  return {AddressRange::parse("127.0.0.0/8").value(), AddressRange::parse("::1").value()};
}

std::string to_string(const Endpoint& endpoint) {
  const bool v6 = endpoint.host.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", v6 ? "[" : "", endpoint.host, v6 ? "]" : "", endpoint.port);
}

Result<NodeSettings> parse_node_settings(std::string_view text_of_file, const std::string& file,
                                         NodeRole role) {
  try {
    auto root = root_of(text_of_file, file);
    if (!root) return std::unexpected(root.error());
    NodeSettings s;
    s.state_dir = role == NodeRole::agent ? "/var/lib/postern/agent" : "/var/lib/postern/gateway";
    auto read = all({
        [&] { return root->field("group", s.group, text, true); },
        [&] { return root->field("name", s.name, host_name, true); },
        [&] { return root->field("state_dir", s.state_dir, absolute_path); },
        [&] {
          return role == NodeRole::gateway ? root->field("listen", s.listen, endpoint) : Result<>{};
        },
        [&] { return root->field("parents", s.parents, parents, true); },
        [&] { return root->field("interval", s.interval, interval); },
        [&] { return root->field("log_level", s.log_level, level); },
        [&]() -> Result<> {
          auto collectors = root->section("collectors");
          if (!collectors) return std::unexpected(collectors.error());
          return read_collectors(std::move(*collectors), s.collectors);
        },
        [&]() -> Result<> {
          auto spool = root->section("spool");
          if (!spool) return std::unexpected(spool.error());
          const auto bytes = [](const YAML::Node& v) {
            return size(v, kSpoolBytesMin, kSpoolBytesMax);
          };
          if (auto done = spool->field("bytes_max", s.spool_bytes_max, bytes); !done) return done;
          return spool->nothing_else();
        },
        [&]() -> Result<> {
          auto events = root->section("events");
          if (!events) return std::unexpected(events.error());
          return read_events(*events, s.events);
        },
        [&] { return read_certificates(*root, s.certificates, false); },
        [&] { return root->nothing_else(); },
    });
    if (!read) return std::unexpected(read.error());
    for (const ParentSetting& p : s.parents)
      if (p.name == s.name)
        return fail(Errc::invalid, "{}: parents: {} cannot be its own parent", file, s.name);
    return s;
  } catch (const YAML::Exception& e) {
    return fail(Errc::invalid, "{}:{}: {}", file, e.mark.line + 1, e.msg);
  }
}

Result<ServerSettings> parse_server_settings(std::string_view text_of_file,
                                             const std::string& file) {
  try {
    auto root = root_of(text_of_file, file);
    if (!root) return std::unexpected(root.error());
    ServerSettings s;
    s.state_dir = "/var/lib/postern/server";
    auto read = all({
        [&] { return root->field("group", s.group, text, true); },
        [&] { return root->field("name", s.name, host_name, true); },
        [&] { return root->field("state_dir", s.state_dir, absolute_path); },
        [&] { return root->field("listen", s.listen, endpoint); },
        [&] { return root->field("store", s.store, store_url); },
        [&] { return root->field("store_password_file", s.store_password_file, absolute_path); },
        [&] { return root->field("api_socket", s.api_socket, absolute_path); },
        [&] { return root->field("api_from", s.api_from, address_ranges); },
        [&] { return root->field("agents", s.agents, policy); },
        [&] { return root->field("interval", s.interval, interval); },
        [&] { return root->field("addresses", s.addresses, addresses); },
        [&] { return root->field("log_level", s.log_level, level); },
        [&]() -> Result<> {
          auto archive = root->section("archive");
          if (!archive) return std::unexpected(archive.error());
          const auto age = [](const YAML::Node& v) {
            return duration(v, std::chrono::hours(1), std::chrono::hours(24 * 3660));
          };
          const auto bytes = [](const YAML::Node& v) {
            return size(v, kSpoolBytesMin, kSpoolBytesMax);
          };
          if (auto done = archive->field("age", s.archive_age, age); !done) return done;
          if (auto done = archive->field("bytes_max", s.archive_bytes_max, bytes); !done)
            return done;
          return archive->nothing_else();
        },
        [&] { return read_certificates(*root, s.certificates, true); },
        [&]() -> Result<> {
          auto alerts = root->section("alerts");
          if (!alerts) return std::unexpected(alerts.error());
          return read_alerts(std::move(*alerts), s.alerts);
        },
        [&] { return root->nothing_else(); },
    });
    if (!read) return std::unexpected(read.error());
    if (s.store.empty()) s.store = "sqlite:" + (s.state_dir / "store.sqlite").string();
    if (s.api_socket.empty()) s.api_socket = s.state_dir / "api.sock";
    if (s.addresses.empty()) s.addresses.push_back(fmt::format("{}:{}", s.name, s.listen.port));
    return s;
  } catch (const YAML::Exception& e) {
    return fail(Errc::invalid, "{}:{}: {}", file, e.mark.line + 1, e.msg);
  }
}

Result<NodeSettings> load_node_settings(Disk& disk, const std::filesystem::path& file,
                                        NodeRole role) {
  auto bytes = disk.read_file(file, 1u << 20);
  if (!bytes) return std::unexpected(bytes.error());
  return parse_node_settings(as_text(*bytes), file.string(), role);
}

Result<ServerSettings> load_server_settings(Disk& disk, const std::filesystem::path& file) {
  auto bytes = disk.read_file(file, 1u << 20);
  if (!bytes) return std::unexpected(bytes.error());
  return parse_server_settings(as_text(*bytes), file.string());
}

}  // namespace postern
