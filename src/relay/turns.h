#pragma once

#include <set>

#include "wire/stream.h"

namespace postern::relay {

/// Streams that have something to send, served in turn: whoever was served goes to the end of the
/// round. A plain value; every step costs the logarithm of the number of streams.
class Turns {
 public:
  enum class Front { none, in_memory, on_disk };  // where the stream's next batch lies

  void set(const wire::StreamKey& key, Front front) {
    change(in_memory_, key, front == Front::in_memory);
    change(on_disk_, key, front == Front::on_disk);
  }
  bool empty() const { return in_memory_.empty() && on_disk_.empty(); }

  /// The stream whose turn it is, or nullptr. With `only_in_memory`, the first in the round that
  /// needs no reading.
  const wire::StreamKey* next(bool only_in_memory = false) const {
    const wire::StreamKey* loaded = behind_last(in_memory_);
    const wire::StreamKey* unread = only_in_memory ? nullptr : behind_last(on_disk_);
    if (loaded == nullptr || unread == nullptr) return loaded == nullptr ? unread : loaded;
    const bool loaded_wraps = *loaded <= last_, unread_wraps = *unread <= last_;
    if (loaded_wraps != unread_wraps) return loaded_wraps ? unread : loaded;
    return *loaded < *unread ? loaded : unread;
  }
  void served(const wire::StreamKey& key) { last_ = key; }

 private:
  using Keys = std::set<wire::StreamKey>;
  static void change(Keys& keys, const wire::StreamKey& key, bool member) {
    if (member)
      keys.insert(key);
    else
      keys.erase(key);
  }
  const wire::StreamKey* behind_last(const Keys& keys) const {
    if (keys.empty()) return nullptr;
    const auto next = keys.upper_bound(last_);
    return next == keys.end() ? &*keys.begin() : &*next;
  }

  Keys in_memory_, on_disk_;
  wire::StreamKey last_{};
};

}  // namespace postern::relay
