#pragma once

#include <optional>
#include <vector>

#include "store/store.h"
#include "store/stream_ledger.h"

namespace postern::store {

// What every kind of store decides alike: plain functions on plain values. What is applied and what
// is gone of a stream is decided in stream_ledger.h.

/// What the caller of apply() promised; `invalid` before anything is written.
Result<> check(const Apply& batch);

/// What a batch does: nothing when it is refused for good (rule D11).
const Effects& effects_in_force(const Apply& batch);

/// From when to when an applied batch observed something; nothing for one that a reader of
/// observations should not see (Store::observations()).
struct Span {
  WallTime first{}, last{};
};
std::optional<Span> observed_span(const Apply& batch, bool took_effect_before);

/// Whether a node that has this many epochs may begin one more.
bool may_begin_epoch(std::size_t known_epochs);

/// Who set a row of a projection. Orders byte by byte as rule B50 wants; a row yields to a setter
/// that is not lower. What goes beyond a limit are the rows with the lowest setters, and of equal
/// ones those with the highest key. What was sealed again is still as old as it was first.
Bytes setter_of(const Apply& batch);

/// Writes what was seen into a node that was not removed. False: skipped, and nothing changed.
bool note_seen(Node& node, const Store::Seen& seen);

/// The row of a probe. Of two probes with one id the one of the lower (stream, sequence) stays.
TraceRow trace_of(const Apply& batch, const Bytes& id);
bool yields_to(const TraceRow& known, const TraceRow& fresh);

struct Release {
  wire::ReleaseRecord record;
  WallTime noted{};
};

/// Collects the lines of the loss ledger. `ledger` is always that of the line's stream; null: the
/// stream is unknown. Holds no more lines than about twice the filter's limit.
class LossList {
 public:
  explicit LossList(const Store::LossFilter& filter) : filter_(filter) {}
  void add_gaps(const StreamLedger& ledger);
  void add_release(const StreamLedger* ledger, const Release& release);
  void add_notice(const StreamLedger* ledger, const Loss& notice);
  void add_refused(Loss refused);
  /// Newest first; those without a time come last.
  std::vector<Loss> take();

 private:
  void add(Loss loss);
  void cut();

  const Store::LossFilter& filter_;
  std::vector<Loss> losses_;
};

/// Words of a hop that are kept; the rest is cut.
inline constexpr std::size_t kNoticeWordsMax = 1024;

Result<> check_notice(const Loss& notice);
/// The notice as it is kept.
Loss notice_of(const Loss& notice);
/// Whether anything of its range is still open; null: the stream is unknown.
bool is_news(const StreamLedger* ledger, const Loss& notice);
/// The same word again, whenever it came.
bool is_same_notice(const Loss& a, const Loss& b);

/// The row of a cause that is raised for the first time, and of one that is open already.
Alert raise_first(const Alert& alert, std::int64_t id);
void raise_again(Alert& known, const Alert& alert);
void change_alert(Alert& known, const Alert& alert);  // what it says; not counted

/// `exhausted` when as many tokens of the API as there may be are in use.
Result<> may_add_token(std::size_t in_use);

Result<> may_add_join_token(std::size_t in_use);
/// `known`: the number that this node used it with before.
JoinUsed judge_use(const JoinToken& token, std::optional<std::int64_t> known, const JoinUse& use);

/// A list of names in one column: "3:gw1,7:gw2.lan,". Whatever a name holds, it comes back as it
/// was.
std::string join_names(const std::vector<std::string>& names);
std::vector<std::string> split_names(std::string_view joined);

/// The line of a batch that is refused for good.
Loss refused_loss(const Apply& batch);

}  // namespace postern::store
