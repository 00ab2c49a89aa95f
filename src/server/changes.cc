#include "server/changes.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>

namespace postern {

std::string Changes::event(const Change& change) const {
  const char* member = change.kind == "alert" || change.kind == "token" ? "id" : "node";
  return fmt::format("id: {:016x}-{}\nevent: {}\ndata: {}\n\n", life_, change.number, change.kind,
                     boost::json::serialize(boost::json::object{{member, change.subject}}));
}

void Changes::flush() {
  const auto now = std::exchange(noted_, {});
  for (const auto& change : now) {
    const std::string& kind = change.first;
    kept_.push_back({++newest_, kind, change.second});
    if (kept_.size() > kChangesKept) kept_.pop_front();
    const std::string text = event(kept_.back());
    std::erase_if(listeners_, [&](const Listener& listener) {
      return listener.wants(kind) && !listener.stream->push(text);
    });
  }
}

void Changes::say_alive() {
  std::erase_if(listeners_,
                [](const Listener& listener) { return !listener.stream->push(":\n\n"); });
}

void Changes::listen(std::shared_ptr<HttpStream> stream, std::set<std::string> kinds,
                     const std::string& last_id) {
  asked_ = true;
  Listener listener{std::move(stream), std::move(kinds)};
  std::uint64_t last = newest_;
  bool known = last_id.empty();
  const std::string prefix = fmt::format("{:016x}-", life_);
  if (last_id.starts_with(prefix)) {
    const char* end = last_id.data() + last_id.size();
    const auto read = std::from_chars(last_id.data() + prefix.size(), end, last);
    const std::uint64_t oldest = kept_.empty() ? newest_ + 1 : kept_.front().number;
    known = read.ec == std::errc() && read.ptr == end && last <= newest_ && last + 1 >= oldest;
  }
  bool there = listener.stream->push(
      known ? std::string(":\n\n")
            : fmt::format("id: {}{}\nevent: reset\ndata: {{}}\n\n", prefix, newest_));
  for (const Change& change : kept_)
    if (known && there && change.number > last && listener.wants(change.kind))
      there = listener.stream->push(event(change));
  if (there) listeners_.push_back(std::move(listener));
}

}  // namespace postern
