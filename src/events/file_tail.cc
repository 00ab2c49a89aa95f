#include "events/file_tail.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <tuple>

#include "base/bytes.h"
#include "base/crc32c.h"

namespace postern::events {
namespace {

constexpr std::size_t kPieceBytes = 256u << 10;  // more than two lines of the longest kind
constexpr std::size_t kPrintBytes = 1024;
constexpr std::size_t kFolderEntriesMax = 10'000;

std::int64_t changed_of(const struct stat& status) {
  return std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

/// Fewer bytes only at the end of the file, or when it cannot be read.
std::string read_at(int descriptor, std::uint64_t offset, std::size_t size) {
  std::string bytes(size, '\0');
  std::size_t got = 0;
  while (got < size) {
    const ssize_t n =
        ::pread(descriptor, bytes.data() + got, size - got, static_cast<off_t>(offset + got));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    got += static_cast<std::size_t>(n);
  }
  bytes.resize(got);
  return bytes;
}

std::uint32_t checksum(std::string_view bytes) { return crc32c(as_bytes(bytes)); }

bool is_compressed(const std::filesystem::path& path) {
  const std::string end = path.extension().string();
  return end == ".gz" || end == ".xz" || end == ".zst" || end == ".bz2" || end == ".lz4";
}

}  // namespace

Descriptor::~Descriptor() {
  if (value_ >= 0) ::close(value_);
}

bool is_rotated_name(std::string_view name, std::string_view base) {
  if (!name.starts_with(base) || name.size() < base.size() + 2) return false;
  const std::string_view rest = name.substr(base.size());
  if (rest[0] != '.' && rest[0] != '-') return false;
  const std::string_view suffix = rest.substr(1);
  return (suffix[0] >= '0' && suffix[0] <= '9') || suffix.starts_with("old") ||
         suffix.starts_with("bak");
}

FileTail::FileTail(std::filesystem::path path, Options options)
    : path_(std::move(path)), options_(std::move(options)), lines_(options_.multiline_start) {}

std::string FileTail::text_of(const Position& p) {
  return fmt::format("{} {} {} {} {} {} {} {} {} {}", p.device, p.inode, p.offset, p.size,
                     p.changed, p.printed, p.print, p.skipping ? 1 : 0, p.done_inode,
                     p.done_changed);
}

std::optional<FileTail::Position> FileTail::position_of(const std::string& text) {
  std::istringstream in(text);
  in.imbue(std::locale::classic());
  Position p;
  in >> p.device >> p.inode >> p.offset >> p.size >> p.changed >> p.printed >> p.print >>
      p.skipping >> p.done_inode >> p.done_changed;
  if (in.fail() || p.printed > kPrintBytes) return std::nullopt;
  return p;
}

void FileTail::seek(const std::string& position) {
  file_.close();
  size_.reset();
  // One that cannot be read is no first start: nothing is to be missed.
  at_ = position_of(position).value_or(Position{.done_changed = 0});
}

std::optional<FileTail::Found> FileTail::look_at(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  return Found{path, status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size),
               changed_of(status)};
}

std::vector<FileTail::Found> FileTail::rotated() const {
  std::vector<Found> found;
  std::error_code ignored;
  const std::string base = path_.filename().string();
  std::size_t entries = 0;
  std::filesystem::directory_iterator folder(path_.parent_path(), ignored), end;
  for (; !ignored && folder != end && ++entries < kFolderEntriesMax; folder.increment(ignored))
    if (is_rotated_name(folder->path().filename().string(), base))
      if (auto file = look_at(folder->path())) found.push_back(std::move(*file));
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
    return std::tie(a.changed, b.path) < std::tie(b.changed, a.path);
  });
  return found;
}

std::vector<FileTail::Found> FileTail::unread() const {
  std::vector<Found> found = rotated();
  std::erase_if(found, [this](const Found& file) {
    return file.changed <= at_.done_changed || file.inode == at_.done_inode ||
           file.inode == at_.inode;
  });
  return found;
}

bool FileTail::open_file(const std::filesystem::path& path, Read& out) {
  Descriptor opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!opened) {
    if (errno != ENOENT)
      out.problem = fmt::format(
          "{} cannot be read: {}; let the user that runs this program read it, for files of "
          "/var/log "
          "by membership of group adm",
          path.string(), std::strerror(errno));
    return false;
  }
  struct stat status {};
  if (::fstat(opened.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    out.problem = fmt::format("{} is no ordinary file; take it from events.files", path.string());
    return false;
  }
  file_ = std::move(opened);
  size_.reset();
  at_.device = status.st_dev;
  at_.inode = status.st_ino;
  return true;
}

/// Nothing of it was ever read.
bool FileTail::open_first(Read& out) {
  if (!open_file(path_, out)) {
    // Whoever makes it later writes it for us to read, if it may be read at all.
    if (out.problem.empty()) at_.done_changed = 0;
    return false;
  }
  const auto before = rotated();
  at_.done_changed = before.empty() ? 0 : before.back().changed;
  if (options_.from_beginning) return true;
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) return true;
  at_.offset = at_.size = static_cast<std::uint64_t>(status.st_size);
  at_.changed = changed_of(status);
  const std::string first = read_at(file_.get(), 0, std::min<std::uint64_t>(kPrintBytes, at_.size));
  at_.printed = first.size();
  at_.print = checksum(first);
  if (at_.offset > 0) at_.skipping = read_at(file_.get(), at_.offset - 1, 1) != "\n";
  return true;
}

bool FileTail::is_same(int descriptor) const {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return false;
  if (static_cast<std::uint64_t>(status.st_size) < at_.offset) return false;
  const std::string first = read_at(descriptor, 0, at_.printed);
  return first.size() == at_.printed && (at_.printed == 0 || checksum(first) == at_.print);
}

/// The file that was begun, wherever it is now.
bool FileTail::open_again(Read& out, WallTime wall) {
  const Position wanted = at_;
  const auto try_file = [&](const std::filesystem::path& path) {
    if (!open_file(path, out)) return false;
    if (is_same(file_.get())) return true;
    file_.close();
    at_ = wanted;
    return false;
  };
  const auto here = look_at(path_);
  if (here && here->inode == wanted.inode && here->device == wanted.device && try_file(path_))
    return true;
  if (!out.problem.empty()) return false;
  const auto others = rotated();
  for (const Found& file : others)
    if (file.inode == wanted.inode && file.device == wanted.device && try_file(file.path))
      return true;
  // By its first bytes alone: a copy of it, younger than what came before.
  for (const Found& file : others)
    if (wanted.printed > 0 && file.changed > wanted.done_changed && !is_compressed(file.path) &&
        try_file(file.path))
      return true;
  if (!out.problem.empty()) return false;
  if (!here && !std::filesystem::exists(path_.parent_path())) return false;  // not mounted, maybe
  if (wanted.size > wanted.offset)
    out.events.push_back(
        notice(kLost,
               fmt::format("{}: {} bytes or more were rotated away before they could be read",
                           path_.string(), wanted.size - wanted.offset),
               wall));
  at_ = Position{.done_inode = 0, .done_changed = std::max(wanted.changed, wanted.done_changed)};
  return open_next(out, wall);
}

bool FileTail::open_next(Read& out, WallTime wall) {
  for (const Found& file : unread()) {
    if (is_compressed(file.path)) {
      out.events.push_back(
          notice(kLost,
                 fmt::format("{} was compressed before it could be read; rotate with delaycompress",
                             file.path.string()),
                 wall));
      at_.done_changed = file.changed;
      at_.done_inode = file.inode;
      continue;
    }
    return open_file(file.path, out);
  }
  return open_file(path_, out);
}

/// Whether the file that is being read is not the one of the name any more, and another one is.
bool FileTail::has_successor() const {
  const auto here = look_at(path_);
  if (here) return here->inode != at_.inode || here->device != at_.device;
  const auto others = rotated();
  return std::any_of(others.begin(), others.end(), [this](const Found& file) {
    return file.inode != at_.inode && file.changed > at_.changed;
  });
}

void FileTail::end_file() {
  at_ = Position{.done_inode = at_.inode, .done_changed = std::max(at_.changed, at_.done_changed)};
  file_.close();
  size_.reset();
}

std::size_t FileTail::take(std::string_view text, bool truncated, WallTime wall, Read& out) const {
  if (text.empty()) return 0;
  LogEvent event;
  event.observed = wall;
  event.severity = options_.severity;
  event.severity_text = options_.severity_text;
  event.body = std::string(text);
  event.attributes.push_back({"log.file.path", path_.string()});
  if (truncated) event.attributes.push_back({"log.record.truncated", true});
  out.events.push_back(std::move(event));
  return weight_of(out.events.back());
}

bool FileTail::read_piece(const ReadLimit& limit, TimePoint now, WallTime wall, Read& out) {
  const bool successor = has_successor();  // asked first: what was written before is read below
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) return false;
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size < at_.offset) return false;
  if (size_ != size) {
    size_ = size;
    unchanged_since_ = now;
  }
  const std::string piece = read_at(file_.get(), at_.offset, kPieceBytes);
  const std::string first = read_at(file_.get(), 0, kPrintBytes);
  // Looked at after the reading: a file that was cut before it shows here.
  if (first.size() < at_.printed ||
      (at_.printed > 0 && checksum(std::string_view(first).substr(0, at_.printed)) != at_.print))
    return false;
  if (at_.offset == 0 && !piece.starts_with(first.substr(0, piece.size()))) return false;
  at_.size = size;
  at_.changed = changed_of(status);

  const bool whole = at_.offset + piece.size() >= size;
  const bool quiet = whole && now - unchanged_since_ >= options_.quiet;
  const bool closed = quiet && successor;
  std::size_t at = 0, bytes = 0;
  while (at < piece.size()) {
    if (out.events.size() >= limit.records || bytes >= limit.bytes) {
      out.more = true;
      break;
    }
    if (at_.skipping) {
      const auto end = piece.find('\n', at);
      at_.skipping = end == std::string::npos;
      at = at_.skipping ? piece.size() : end + 1;
      continue;
    }
    const auto event = lines_.next(piece, at, quiet, closed);
    if (!event) break;
    bytes += take(event->text, event->truncated, wall, out);
    at = event->next;
    at_.skipping = event->truncated;
  }
  if (!whole && at > 0) out.more = true;
  at_.offset += at;
  if (at > 0 && at_.printed < kPrintBytes) {
    at_.printed = std::min<std::uint64_t>({kPrintBytes, at_.offset, first.size()});
    at_.print = checksum(std::string_view(first).substr(0, at_.printed));
  }
  if (closed && at_.offset >= size) {
    end_file();
    out.more = true;
  }
  return true;
}

LogSource::Read FileTail::read(const ReadLimit& limit, TimePoint now, WallTime wall) {
  Read out;
  bool open = static_cast<bool>(file_);
  if (!open) {
    if (at_.inode != 0)
      open = open_again(out, wall);
    else
      open = at_.done_changed >= 0 ? open_next(out, wall) : open_first(out);
  }
  // A whole life of the file may have passed while nothing of it was read.
  if (open && at_.offset == 0)
    if (const auto here = look_at(path_); here && here->inode == at_.inode && !unread().empty()) {
      at_ = Position{.done_inode = at_.done_inode, .done_changed = at_.done_changed};
      file_.close();
      open = open_next(out, wall);
    }
  if (open && !read_piece(limit, now, wall, out)) {
    file_.close();
    if (open_again(out, wall)) out.more = true;
  }
  out.position = text_of(at_);
  return out;
}

}  // namespace postern::events
