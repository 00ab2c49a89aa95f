#pragma once

#include <chrono>
#include <string>

#include "base/result.h"
#include "relay/relay.h"

namespace postern::relay {

/// What a hop does with a batch that arrived (rule D11, channel.md#W32). Whatever it is, the batch
/// was taken off the child's hands and gets an answer on the connection it came by.
struct Intake {
  enum class Action {
    store,         // say writing(), write it to the spool, then added()
    answer,        // it is here: answer with coverage, and with the settled that is kept
    not_yet,       // answer that, with `words` and `retry_after`
    equivocation,  // the same, and say it aloud: another batch of this number is here (rule D1)
  };
  static constexpr std::chrono::seconds kStreamsRetry{60};
  static constexpr std::chrono::seconds kEquivocationRetry{60};
  static constexpr std::chrono::seconds kSpoolRetry{5};

  Action action = Action::store;
  std::string words;
  std::chrono::milliseconds retry_after{};
  bool operator==(const Intake&) const = default;
};

/// `room`: whether the spool takes it now, and it takes another stamp; its error is what the child
/// is told. A duplicate needs no room, and an equivocation is said whether there is room or not.
inline Intake take_in(const Relay& relay, const wire::StreamKey& stream, std::uint64_t sequence,
                      const Digest& hash, const Result<>& room) {
  using Action = Intake::Action;
  if (!relay.has_room_for(stream))
    return {Action::not_yet, "this node has more epochs here than a gateway remembers",
            Intake::kStreamsRetry};
  switch (relay.classify(stream, sequence, hash)) {
    case Relay::Arrival::held:
    case Relay::Arrival::settled:
      return {Action::answer, {}, {}};
    case Relay::Arrival::equivocation:
      return {Action::equivocation, "another batch of this number is held here",
              Intake::kEquivocationRetry};
    case Relay::Arrival::fresh:
      break;
  }
  if (!room) return {Action::not_yet, room.error().message, Intake::kSpoolRetry};
  return {Action::store, {}, {}};
}

}  // namespace postern::relay
