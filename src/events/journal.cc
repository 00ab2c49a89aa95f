#include "events/journal.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstring>

namespace postern::events {
namespace {

constexpr std::size_t kErrorBytesMax = 512;
constexpr std::size_t kFieldsMax = 64;
constexpr std::size_t kAttributeBytesMax = 1024;
constexpr const char* kBeginning = "*";
constexpr int kFirstCursorMs = 5000;
constexpr const char* kWayOut =
    "; let the user that runs this program read it: add it to group systemd-journal";

struct Named {
  const char* field;
  const char* attribute;
};
/// What is asked for and kept, under OpenTelemetry's names where it has one.
constexpr std::array kAttributes{
    Named{"_SYSTEMD_UNIT", "systemd.unit"},
    Named{"SYSLOG_IDENTIFIER", "syslog.identifier"},
    Named{"_PID", "process.pid"},
    Named{"_COMM", "process.command"},
    Named{"_EXE", "process.executable.path"},
    Named{"_UID", "process.user.id"},
    Named{"_HOSTNAME", "host.name"},
    Named{"_TRANSPORT", "systemd.transport"},
    Named{"MESSAGE_ID", "systemd.message_id"},
    Named{"CODE_FILE", "code.file.path"},
    Named{"UNIT", "systemd.about_unit"},
};

constexpr std::array kSeverities{
    std::pair{Severity::emergency, "emergency"}, std::pair{Severity::alert, "alert"},
    std::pair{Severity::critical, "critical"},   std::pair{Severity::error, "error"},
    std::pair{Severity::warning, "warning"},     std::pair{Severity::notice, "notice"},
    std::pair{Severity::info, "info"},           std::pair{Severity::debug, "debug"},
};

std::int64_t number_of(std::string_view text) {
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

// ---- Export format

void ExportParser::add(char c) {
  if (text_.size() < kLineBytesMax)
    text_.push_back(c);
  else
    entry_.truncated = true;
}

void ExportParser::end_line(std::vector<Entry>& out) {
  if (text_.empty()) {
    if (!entry_.fields.empty()) out.push_back(std::move(entry_));
    entry_ = {};
    return;
  }
  const auto equals = text_.find('=');
  if (equals == std::string::npos) {
    name_ = std::exchange(text_, {});
    raw_size_.clear();
    state_ = State::size;
    return;
  }
  if (entry_.fields.size() < kFieldsMax)
    entry_.fields.emplace_back(text_.substr(0, equals), text_.substr(equals + 1));
  text_.clear();
}

std::vector<ExportParser::Entry> ExportParser::feed(std::string_view bytes) {
  std::vector<Entry> out;
  for (const char c : bytes) {
    switch (state_) {
      case State::line:
        if (c == '\n')
          end_line(out);
        else
          add(c);
        break;
      case State::size:
        raw_size_.push_back(c);
        if (raw_size_.size() < 8) break;
        left_ = 0;
        for (std::size_t i = 8; i-- > 0;)
          left_ = left_ << 8 | static_cast<unsigned char>(raw_size_[i]);
        state_ = left_ > 0 ? State::value : State::value_end;
        break;
      case State::value:
        add(c);
        if (--left_ == 0) state_ = State::value_end;
        break;
      case State::value_end:
        if (entry_.fields.size() < kFieldsMax)
          entry_.fields.emplace_back(std::move(name_), std::move(text_));
        name_.clear();
        text_.clear();
        state_ = State::line;
        break;
    }
  }
  return out;
}

// ---- The child

bool Journal::exists() {
  std::error_code ignored;
  for (const char* folder : {"/run/log/journal", "/var/log/journal"})
    if (!std::filesystem::is_empty(folder, ignored) && !ignored) return true;
  return false;
}

Journal::~Journal() { end(); }

void Journal::seek(const std::string& position) {
  end();
  position_ = position.empty() ? kBeginning : position;
}

bool Journal::launch(const std::vector<std::string>& arguments) {
  std::array<int, 2> out{-1, -1}, err{-1, -1};
  if (::pipe2(out.data(), O_CLOEXEC) != 0) return false;
  Descriptor out_read(out[0]), out_write(out[1]);
  if (::pipe2(err.data(), O_CLOEXEC) != 0) return false;
  Descriptor err_read(err[0]), err_write(err[1]);
  std::vector<std::string> words{options_.program};
  words.insert(words.end(), options_.more_arguments.begin(), options_.more_arguments.end());
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::string path = "PATH=/usr/bin:/bin", language = "LC_ALL=C.UTF-8";
  std::array<char*, 3> environment{path.data(), language.data(), nullptr};
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return false;
  if (child == 0) {
    // It ends with us, however we end; nothing of ours stays open in it.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    const int null = ::open("/dev/null", O_RDONLY);
    ::dup2(null, 0);
    ::dup2(out[1], 1);
    ::dup2(err[1], 2);
    ::execve(argv[0], argv.data(), environment.data());
    ::_exit(127);
  }
  ::fcntl(out[0], F_SETFL, O_NONBLOCK);
  ::fcntl(err[0], F_SETFL, O_NONBLOCK);
  child_ = child;
  out_ = std::move(out_read);
  err_ = std::move(err_read);
  errors_.clear();
  return true;
}

void Journal::end() {
  if (child_ > 0) {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
  child_ = -1;
  out_.close();
  err_.close();
  parser_ = {};
  waiting_.clear();
  taken_ = 0;
}

/// Where the journal ends now; empty when it has nothing yet.
std::string Journal::last_cursor(Read& out) {
  if (!launch({"--no-pager", "--output=export", "--output-fields=PRIORITY", "--lines=1"}))
    return "";
  std::string cursor;
  pollfd wait{out_.get(), POLLIN, 0};
  bool ended = false;
  while (!ended && ::poll(&wait, 1, kFirstCursorMs) > 0) {
    std::array<char, 4096> buffer;
    const ssize_t n = ::read(out_.get(), buffer.data(), buffer.size());
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    ended = n <= 0;
    if (n <= 0) break;
    for (const auto& entry : parser_.feed({buffer.data(), static_cast<std::size_t>(n)}))
      for (const auto& [name, value] : entry.fields)
        if (name == "__CURSOR") cursor = value;
  }
  drain_errors();
  if (!ended) out.problem = "journalctl does not answer";
  end();
  return cursor;
}

void Journal::start(Read& out) {
  if (position_.empty()) {
    const std::string cursor = last_cursor(out);
    if (!out.problem.empty()) return;
    position_ = cursor.empty() ? kBeginning : cursor;
  }
  std::string fields = "--output-fields=MESSAGE,PRIORITY,_SOURCE_REALTIME_TIMESTAMP";
  for (const Named& named : kAttributes) fields += fmt::format(",{}", named.field);
  std::vector<std::string> arguments{"--no-pager",
                                     "--output=export",
                                     "--follow",
                                     "--no-tail",
                                     fmt::format("--priority=0..{}", options_.priority),
                                     fields};
  if (position_ != kBeginning) arguments.push_back("--after-cursor=" + position_);
  if (!launch(arguments)) out.problem = fmt::format("journalctl: {}", std::strerror(errno));
  began_at_ = position_;
}

void Journal::drain_errors() {
  std::array<char, 512> buffer;
  while (err_) {
    const ssize_t n = ::read(err_.get(), buffer.data(), buffer.size());
    if (n <= 0) break;
    errors_.append(buffer.data(), static_cast<std::size_t>(n));
    if (errors_.size() > kErrorBytesMax) errors_.resize(kErrorBytesMax);
  }
  std::replace(errors_.begin(), errors_.end(), '\n', ' ');
}

LogEvent Journal::event_of(const ExportParser::Entry& entry, WallTime wall) const {
  LogEvent event;
  event.observed = wall;
  std::int64_t received = 0, said = 0;
  for (const auto& [name, value] : entry.fields) {
    if (name == "MESSAGE") event.body = value;
    if (name == "__REALTIME_TIMESTAMP") received = number_of(value);
    if (name == "_SOURCE_REALTIME_TIMESTAMP") said = number_of(value);
    if (name == "PRIORITY") {
      const auto priority = static_cast<std::size_t>(number_of(value));
      if (priority >= kSeverities.size()) continue;
      event.severity = kSeverities[priority].first;
      event.severity_text = kSeverities[priority].second;
    }
    for (const Named& named : kAttributes) {
      if (name != named.field) continue;
      if (name == "_PID" || name == "_UID")
        event.attributes.push_back({named.attribute, number_of(value)});
      else
        event.attributes.push_back({named.attribute, value.substr(0, kAttributeBytesMax)});
    }
  }
  event.time = wall_from_ms((said > 0 ? said : received) / 1000);
  if (entry.truncated) event.attributes.push_back({"log.record.truncated", true});
  return event;
}

LogSource::Read Journal::read(const ReadLimit& limit, TimePoint now, WallTime wall) {
  Read out;
  if (child_ < 0 && (!retry_at_ || now >= *retry_at_)) {
    start(out);
    retry_at_ = now + options_.retry;
    if (!out.problem.empty()) problem_ = out.problem + kWayOut;
  }
  std::size_t bytes = 0;
  while (child_ >= 0) {
    if (out.events.size() >= limit.records || bytes >= limit.bytes) {
      out.more = true;
      break;
    }
    if (taken_ < waiting_.size()) {
      const ExportParser::Entry& entry = waiting_[taken_++];
      for (const auto& [name, value] : entry.fields)
        if (name == "__CURSOR" && value.size() < kPositionBytesMax) position_ = value;
      out.events.push_back(event_of(entry, wall));
      bytes += weight_of(out.events.back());
      continue;
    }
    std::array<char, 16384> buffer;
    const ssize_t n = ::read(out_.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) {
      drain_errors();
      problem_ = fmt::format("journalctl has ended: {}{}",
                             errors_.empty() ? "it says nothing" : errors_, kWayOut);
      end();
      break;
    }
    waiting_ = parser_.feed({buffer.data(), static_cast<std::size_t>(n)});
    taken_ = 0;
  }
  if (child_ >= 0) {
    drain_errors();
    problem_.clear();
    if (errors_.find("not seeing messages") != std::string::npos ||
        errors_.find("permission") != std::string::npos)
      problem_ = "not all of the journal may be read" + std::string(kWayOut);
  }
  out.problem = problem_;
  out.position = position_;
  return out;
}

}  // namespace postern::events
