#include "events/sources.h"

#include <glob.h>

#include <algorithm>

#include "events/file_tail.h"
#include "events/journal.h"

namespace postern::events {
namespace {

constexpr const char* kJournalName = "journal";

std::vector<std::string> matches_of(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> paths;
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0)
    for (std::size_t i = 0; i < found.gl_pathc; ++i) paths.emplace_back(found.gl_pathv[i]);
  ::globfree(&found);
  // A pattern without wildcards is a file that may come yet.
  if (paths.empty() && pattern.find_first_of("*?[") == std::string::npos) paths.push_back(pattern);
  // What a rotation made of another one is read as a part of that.
  const auto is_rotated = [&paths](const std::string& path) {
    return std::any_of(paths.begin(), paths.end(),
                       [&](const std::string& other) { return is_rotated_name(path, other); });
  };
  std::vector<std::string> kept;
  for (const std::string& path : paths)
    if (!is_rotated(path)) kept.push_back(path);
  return kept;
}

Severity severity_of(const std::string& word) {
  static constexpr std::pair<const char*, Severity> kWords[] = {
      {"emergency", Severity::emergency}, {"alert", Severity::alert},
      {"critical", Severity::critical},   {"error", Severity::error},
      {"warning", Severity::warning},     {"notice", Severity::notice},
      {"info", Severity::info},           {"debug", Severity::debug}};
  for (const auto& [known, severity] : kWords)
    if (word == known) return severity;
  return Severity::unknown;
}

}  // namespace

void HostSources::look(Map& sources, const Positions& known, Positions& moved, TimePoint now) {
  if (next_look_ && now < *next_look_) return;
  next_look_ = now + kLookInterval;
  using Wanted = EventSettings::Journal;
  const bool wanted = settings_.journal == Wanted::on ||
                      (settings_.journal == Wanted::where_there_is_one && Journal::exists());
  if (wanted && !sources.contains(kJournalName)) {
    Journal::Options options;
    options.priority = settings_.journal_priority;
    auto journal = std::make_unique<Journal>(options);
    if (const auto position = known.find(kJournalName); position != known.end())
      journal->seek(position->second);
    else if (everything_)
      journal->seek("");
    sources[kJournalName] = std::move(journal);
  }
  for (const EventSettings::Files& files : settings_.files)
    look_for_files(files, sources, known, moved);
}

void HostSources::look_for_files(const EventSettings::Files& files, Map& sources,
                                 const Positions& known, Positions& moved) {
  // At the very first look at a pattern its files may be old; what comes later is new.
  const std::string mark = fmt::format("pattern:{}", files.path);
  const bool first = !known.contains(mark) && !everything_;
  moved.insert_or_assign(mark, std::string(1, '1'));
  for (const std::string& path : matches_of(files.path)) {
    const std::string name = fmt::format("file:{}", path);
    if (sources.contains(name) || name.size() > StateFile::kNameBytesMax) continue;
    if (sources.size() >= kFilesMax) {
      if (too_many_.size() < kFilesMax && too_many_.insert(path).second)
        log_.error("{} is not read: at most {} log files are; name fewer in events.files", path,
                   kFilesMax);
      continue;
    }
    FileTail::Options options;
    options.multiline_start = files.multiline_start;
    options.severity = severity_of(files.severity);
    options.severity_text = files.severity;
    options.from_beginning = !first || files.from_beginning;
    auto tail = std::make_unique<FileTail>(path, options);
    if (const auto position = known.find(name); position != known.end())
      tail->seek(position->second);
    sources[name] = std::move(tail);
  }
}

}  // namespace postern::events
