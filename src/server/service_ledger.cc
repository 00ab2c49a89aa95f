// What the service says about losses, alerts and traces.

#include <algorithm>

#include "node/node.h"
#include "server/service.h"

namespace postern {
namespace {

using api::Answer;
using api::problem;
using store::Standing;

constexpr std::size_t kWordsSearched = 4 * store::kNoticesMax;

std::unexpected<api::ApiError> failed(const Error& error) {
  return std::unexpected(api::problem_of(error));
}

/// The hole without what somebody has said something about.
std::vector<store::Hole> without_words(const store::Hole& hole,
                                       const std::vector<store::Loss>& words) {
  std::vector<store::Hole> rest{hole};
  for (const store::Loss& said : words) {
    const bool explains =
        said.kind == store::Loss::Kind::notice || said.kind == store::Loss::Kind::released;
    if (!explains || said.stream != hole.stream) continue;
    std::vector<store::Hole> next;
    for (const store::Hole& part : rest) {
      if (said.last < part.first || part.last < said.first) {
        next.push_back(part);
        continue;
      }
      if (part.first < said.first)
        next.push_back({part.stream, part.first, said.first - 1, {}, {}});
      if (said.last < part.last) next.push_back({part.stream, said.last + 1, part.last, {}, {}});
    }
    rest = std::move(next);
  }
  return rest;
}

std::int64_t between(WallTime from, WallTime to) { return (to - from).count(); }

}  // namespace

const std::string& ServerService::name_of_node(const NodeId& id, Names& names) {
  const auto found = names.find(id);
  if (found != names.end()) return found->second;
  std::string name = id == about_.id ? about_.name : id.hex();
  if (auto node = store_.node(id); node && *node) name = (*node)->name;
  return names.emplace(id, std::move(name)).first->second;
}

// ---- The loss ledger

api::LossView ServerService::loss_view(const store::Loss& loss, Names& names) {
  api::LossView view;
  view.kind = static_cast<api::LossView::Kind>(loss.kind);
  view.node = name_of_node(loss.stream.node, names);
  view.node_id = loss.stream.node.hex();
  view.lane = wire::to_string(loss.stream.lane);
  view.epoch_ordinal = loss.stream.epoch.ordinal;
  view.epoch_random = fmt::format("{:016x}", loss.stream.epoch.random);
  view.range = {loss.first, loss.last};
  view.noted = loss.noted;
  view.first_time = loss.first_time;
  view.last_time = loss.last_time;
  view.records = loss.records;
  view.bytes = loss.bytes;
  view.reason = loss.reason;
  const auto place = parse_node_id(loss.where);
  view.where = place ? name_of_node(*place, names) : loss.where;
  return view;
}

/// Holes that nobody has said a word about, with their age where it is known.
Answer<std::vector<store::Loss>> ServerService::unexplained(const std::optional<NodeId>& node) {
  std::vector<HoleWatch::Unexplained> holes;
  if (holes_ != nullptr) {
    holes = holes_->open(clock_.now());
  } else {
    auto all = store_.holes(HoleLimits{}.holes_max);
    if (!all) return failed(all.error());
    for (store::Hole& hole : *all) holes.push_back({std::move(hole), "", {}});
  }
  if (node) std::erase_if(holes, [&](const auto& one) { return one.hole.stream.node != *node; });
  std::vector<store::Loss> losses;
  if (holes.empty()) return losses;
  auto words = store_.losses({node, std::nullopt, kWordsSearched});
  if (!words) return failed(words.error());
  for (const HoleWatch::Unexplained& one : holes)
    for (const store::Hole& part : without_words(one.hole, *words)) {
      store::Loss loss;
      loss.kind = store::Loss::Kind::hole;
      loss.stream = part.stream;
      loss.first = part.first;
      loss.last = part.last;
      if (holes_ != nullptr)
        loss.noted = clock_.wall() - std::chrono::duration_cast<std::chrono::milliseconds>(one.age);
      loss.reason = one.cause.empty() ? "missing, asked for" : "missing, nobody says why";
      if (auto known = store_.node(part.stream.node); known && *known)
        loss.where = fmt::format("{}", fmt::join((*known)->path, ", "));
      losses.push_back(std::move(loss));
    }
  return losses;
}

Answer<std::vector<api::LossView>> ServerService::losses(const api::LossQuery& query) {
  store::Store::LossFilter filter{std::nullopt, query.since, query.limit};
  if (query.node) {
    auto node = find(*query.node, std::nullopt);
    if (!node) return std::unexpected(node.error());
    if (!node->id) return std::vector<api::LossView>{};
    filter.node = node->id;
  }
  auto all = unexplained(filter.node);
  if (!all) return std::unexpected(all.error());
  auto ledger = store_.losses(filter);
  if (!ledger) return failed(ledger.error());
  all->insert(all->end(), ledger->begin(), ledger->end());
  if (all->size() > query.limit) all->resize(query.limit);
  Names names;
  std::vector<api::LossView> views;
  for (const store::Loss& loss : *all) views.push_back(loss_view(loss, names));
  return views;
}

// ---- Alerts

api::AlertView ServerService::alert_view(const store::Alert& alert, Names& names) {
  api::AlertView view;
  view.id = alert.id;
  view.cause = alert.cause;
  view.severity = alert.severity;
  if (alert.node) {
    view.node = name_of_node(*alert.node, names);
    view.node_id = alert.node->hex();
  }
  view.words = alert.words;
  view.raised = alert.raised;
  view.last = alert.last;
  view.count = alert.count;
  view.closed = alert.closed;
  view.closed_by = alert.closed_by;
  return view;
}

Answer<std::vector<api::AlertView>> ServerService::alerts(bool open_only) {
  auto alerts = store_.alerts(open_only, kAlertsSearched);
  if (!alerts) return failed(alerts.error());
  Names names;
  std::vector<api::AlertView> views;
  for (const store::Alert& alert : *alerts) views.push_back(alert_view(alert, names));
  return views;
}

Answer<store::Alert> ServerService::find_alert(std::int64_t id) {
  auto alerts = store_.alerts(false, kAlertsSearched);
  if (!alerts) return failed(alerts.error());
  for (const store::Alert& alert : *alerts)
    if (alert.id == id) return alert;
  return std::unexpected(
      problem(api::kProblemNotFound,
              fmt::format("there is no alert {}; postern alert list --all shows them", id)));
}

Answer<api::AlertView> ServerService::alert(std::int64_t id) {
  auto alert = find_alert(id);
  if (!alert) return std::unexpected(alert.error());
  Names names;
  return alert_view(*alert, names);
}

Answer<api::AlertView> ServerService::close_alert(const api::Caller& caller, std::int64_t id) {
  auto found = find_alert(id);
  if (!found) return std::unexpected(found.error());
  if (found->closed) return alert(id);
  auto closed = store_.close_alert(found->cause, clock_.wall(), caller.name);
  if (!closed) return failed(closed.error());
  if (watch_ != nullptr) watch_->on_closed(found->cause);
  changes_.emplace_back("alert", std::to_string(id));
  if (found->node) changes_.emplace_back("node", found->node->hex());
  const store::AuditEntry audit{clock_.wall(), caller.name, "alert closed", found->cause,
                                fmt::format("alert {}", id)};
  if (auto noted = store_.audit(audit); !noted) return failed(noted.error());
  return alert(id);
}

// ---- Traces

Answer<api::TraceStarted> ServerService::trace(const api::Caller& caller, std::string_view name) {
  auto node = find(name, std::nullopt);
  if (!node) return std::unexpected(node.error());
  if (node->id == about_.id)
    return std::unexpected(
        problem(api::kProblemConflict,
                fmt::format("{} is this management server: nothing lies between", node->name)));
  if (node->standing != Standing::approved || !node->id)
    return std::unexpected(
        problem(api::kProblemConflict,
                fmt::format("{} {}; only an approved node that has connected can be traced",
                            node->name, node->id ? "is not approved" : "has never connected")));
  for (const Asked& asked : asked_)
    if (asked.node == *node->id && clock_.now() - asked.since < kTraceEvery)
      return std::unexpected(
          problem(api::kProblemExhausted,
                  fmt::format("{} was asked less than a second ago; ask again", node->name)));
  const WallTime now = clock_.wall();
  Bytes id(wire::kProbeIdBytes);
  random_.fill(id);
  wire::pb::TraceQuestion question;
  question.set_id(to_string(ByteView(id)));
  question.set_issued_ms(to_ms(now));
  Question out{*node->id, node::kTraceRequest, {}};
  out.body.set_body(question.SerializeAsString());
  const GroupFolder::Delegate& delegate = registry_.delegate();
  out.body.set_signature(
      node::field_of(delegate.key.sign(node::kTraceContext, as_bytes(out.body.body()))));
  out.body.set_signer(delegate.number);

  const store::AuditEntry audit{now, caller.name, "trace asked for", node->name, node->id->hex()};
  if (auto noted = store_.audit(audit); !noted) return failed(noted.error());
  questions_.push_back(std::move(out));
  if (asked_.size() >= kTracesAskedMax) asked_.erase(asked_.begin());
  asked_.push_back({to_hex(id), *node->id, now, clock_.now()});
  return api::TraceStarted{asked_.back().id, node->name};
}

Answer<api::TraceView> ServerService::trace_result(std::string_view id) {
  const auto bytes = from_hex(id);
  if (!bytes) return failed(bytes.error());
  auto row = store_.trace(*bytes);
  if (!row) return failed(row.error());
  const auto asked =
      std::find_if(asked_.begin(), asked_.end(), [&](const Asked& one) { return one.id == id; });
  if (!*row && asked == asked_.end())
    return std::unexpected(problem(
        api::kProblemNotFound,
        fmt::format("there is no trace {}: it was asked for before this server started, or {} "
                    "others since; ask again",
                    id, kTracesAskedMax)));
  Names names;
  api::TraceView view;
  view.id = id;
  if (asked != asked_.end()) {
    view.asked = asked->time;
    view.node = name_of_node(asked->node, names);
  }
  if (!*row) return view;
  const store::TraceRow& probe = **row;
  view.node = name_of_node(probe.stream.node, names);
  view.arrived = true;
  view.sealed = probe.sealed;
  WallTime left = probe.sealed;
  for (std::size_t i = 0; i < probe.stamps.size(); ++i) {
    const wire::Stamp& stamp = probe.stamps[i];
    const NodeId receiver = i + 1 < probe.stamps.size() ? probe.stamps[i + 1].from : about_.id;
    view.hops.push_back({name_of_node(stamp.from, names), name_of_node(receiver, names),
                         stamp.received, between(left, stamp.received)});
    left = stamp.received;
  }
  view.total_ms = between(probe.sealed, left);
  return view;
}

}  // namespace postern
