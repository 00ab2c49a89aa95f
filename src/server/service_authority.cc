// From one CA of the group to the next: made known, signing, and the one before withdrawn. Each
// step may be repeated, and after a crash it is.

#include <algorithm>

#include "server/rollover.h"
#include "server/service.h"

namespace postern {
namespace {

using api::Answer;
using api::AuthorityView;
using api::problem;

constexpr std::size_t kNamedInProblem = 5;
// What renewals are spread over: so many nodes a second, within these.
constexpr std::size_t kRenewalsPerSecond = 20;
constexpr std::chrono::seconds kSpreadMin{2}, kSpreadMax{3600};

std::unexpected<api::ApiError> failed(const Error& error) {
  return std::unexpected(api::problem_of(error));
}

std::unexpected<api::ApiError> conflict(std::string words) {
  return std::unexpected(problem(api::kProblemConflict, std::move(words)));
}

std::string text_of(const Certificate& certificate) {
  return fmt::format("'{}' (serial {})", certificate.subject(), certificate.serial());
}

}  // namespace

Answer<AuthorityView> ServerService::authority() {
  auto root = folder_.root_certificate();
  if (!root) return failed(root.error());
  auto issuing = folder_.issuing_certificates();
  if (!issuing) return failed(issuing.error());
  auto rollover = folder_.rollover();
  if (!rollover) return failed(rollover.error());
  auto published = registry_.anchors();
  if (!published) return failed(published.error());
  auto nodes = store_.nodes();
  if (!nodes) return failed(nodes.error());

  AuthorityView view;
  const Certificate& signer = issuing->empty() ? *root : issuing->front();
  view.issuer = signer.subject();
  view.issuer_not_after = signer.not_after();
  if (rollover->next) view.phase = api::RolloverPhase::spreading;
  if (rollover->former) view.phase = api::RolloverPhase::renewing;
  for (const Certificate& anchor : about_.anchors.certificates()) {
    using Standing = AuthorityView::Standing;
    view.anchors.push_back({anchor.subject(), anchor.serial(), to_hex(anchor.fingerprint()),
                            anchor.not_after(),
                            anchor == *root              ? Standing::signing
                            : anchor == rollover->next   ? Standing::next
                            : anchor == rollover->former ? Standing::former
                                                         : Standing::outside});
  }
  RolloverNeeds needs;
  if (*published) needs.anchors = (*published)->edition;
  if (rollover->former) needs.former_names = names_under(*rollover->former, *issuing);
  for (const store::Node& node : *nodes) {
    if (node.standing != store::Standing::approved || node.role == store::Role::server) continue;
    if (!node.id || !node.last_seen) {
      ++view.nodes_to_come;
      continue;
    }
    ++view.nodes;
    if (view.phase == api::RolloverPhase::none) continue;
    if (std::string why = why_waiting(node, needs); !why.empty())
      view.waiting.push_back({node.name, static_cast<api::Role>(static_cast<int>(node.role) - 1),
                              connected(node), node.last_seen, std::move(why)});
  }
  std::ranges::sort(view.waiting, {}, &AuthorityView::Waiting::name);
  return view;
}

Result<> ServerService::say_anchors(const Anchors& anchors, const GroupFolder::Rollover& rollover,
                                    std::vector<Digest> withdrawn, const store::AuditEntry& entry) {
  auto published = registry_.anchors();
  if (!published) return std::unexpected(published.error());
  auto nodes = store_.nodes();
  if (!nodes) return std::unexpected(nodes.error());
  node::AnchorList list;
  for (const Certificate& anchor : anchors.certificates())
    list.anchors.push_back({anchor, anchor == rollover.former});
  // What was withdrawn stays so, also for whoever was away; the oldest have ended by themselves.
  if (*published) list.withdrawn = (*published)->list.withdrawn;
  for (const Digest& one : withdrawn)
    if (std::ranges::find(list.withdrawn, one) == list.withdrawn.end())
      list.withdrawn.push_back(one);
  if (list.withdrawn.size() > node::kWithdrawnMax)
    list.withdrawn.erase(list.withdrawn.begin(),
                         list.withdrawn.end() - static_cast<std::ptrdiff_t>(node::kWithdrawnMax));
  if (list.anchors.size() > node::kAnchorsMax)
    return fail(Errc::exhausted, "the group would trust {} anchors, the limit is {}",
                list.anchors.size(), node::kAnchorsMax);
  list.spread =
      std::clamp(std::chrono::seconds(nodes->size() / kRenewalsPerSecond), kSpreadMin, kSpreadMax);
  return registry_.publish_anchors(list, entry);
}

Answer<AuthorityView> ServerService::roll_authority(const api::Caller& caller) {
  if (auto may = registry_.may_sign_anchors(); !may) return failed(may.error());
  auto rollover = folder_.rollover();
  if (!rollover) return failed(rollover.error());
  if (rollover->former)
    return conflict(fmt::format("the change from {} is not finished; first: postern ca finish",
                                text_of(*rollover->former)));
  auto next = folder_.prepare_next(clock_.wall(), random_);
  if (!next) return failed(next.error());
  auto trusted = folder_.anchors();
  if (!trusted) return failed(trusted.error());
  std::vector<Certificate> all = trusted->certificates();
  if (std::ranges::find(all, *next) == all.end()) all.push_back(*next);
  auto anchors = Anchors::from_certificates(std::move(all));
  if (!anchors) return failed(anchors.error());
  if (auto done = folder_.install_anchors(*anchors); !done) return failed(done.error());
  if (auto said = say_anchors(*anchors, {*next, std::nullopt}, {},
                              {clock_.wall(), caller.name, "CA roll-over begun", about_.group,
                               text_of(*next) + " is trusted besides the one that signs"});
      !said)
    return failed(said.error());
  about_.anchors = *anchors;
  return authority();
}

std::optional<api::ApiError> ServerService::against_leaving(const AuthorityView& view,
                                                            bool leave_behind,
                                                            std::string_view what) const {
  if (view.waiting.empty() || leave_behind) return std::nullopt;
  std::string names;
  for (std::size_t i = 0; i < std::min(view.waiting.size(), kNamedInProblem); ++i)
    names +=
        fmt::format("{}{} ({})", i == 0 ? "" : ", ", view.waiting[i].name, view.waiting[i].reason);
  if (view.waiting.size() > kNamedInProblem)
    names += fmt::format(" and {} more", view.waiting.size() - kNamedInProblem);
  return problem(api::kProblemConflict,
                 fmt::format("{} of {} nodes are not ready: {}; {}. Wait for them (postern ca "
                             "show), remove those that do not exist any more, or go on with "
                             "--leave-behind",
                             view.waiting.size(), view.nodes, names, what));
}

Answer<AuthorityView> ServerService::switch_authority(const api::Caller& caller,
                                                      bool leave_behind) {
  auto view = authority();
  if (!view) return view;
  if (view->phase == api::RolloverPhase::none)
    return conflict("there is no next CA; begin with: postern ca roll");
  if (view->phase == api::RolloverPhase::spreading) {
    if (auto wrong = against_leaving(*view, leave_behind,
                                     "they would refuse their parents' new certificates, and come "
                                     "back by /renew only"))
      return std::unexpected(std::move(*wrong));
    if (auto done = folder_.switch_to_next(); !done) return failed(done.error());
  }
  auto rollover = folder_.rollover();
  if (!rollover) return failed(rollover.error());
  auto root = folder_.root_certificate();
  if (!root) return failed(root.error());
  auto anchors = folder_.anchors();
  if (!anchors) return failed(anchors.error());
  if (auto said =
          say_anchors(*anchors, *rollover, {},
                      {clock_.wall(), caller.name, "CA roll-over: the next CA signs", about_.group,
                       text_of(*root) + " signs from now on; nodes renew their certificates"});
      !said)
    return failed(said.error());
  return authority();
}

Answer<AuthorityView> ServerService::finish_authority(const api::Caller& caller,
                                                      bool leave_behind) {
  auto view = authority();
  if (!view) return view;
  if (view->phase == api::RolloverPhase::none) return conflict("no change of the CA is under way");
  if (view->phase == api::RolloverPhase::spreading)
    return conflict("the next CA signs nothing yet; first: postern ca switch");
  auto rollover = folder_.rollover();
  if (!rollover) return failed(rollover.error());
  auto issuing = folder_.issuing_certificates();
  if (!issuing) return failed(issuing.error());
  const auto former = names_under(*rollover->former, *issuing);
  if (std::ranges::find(former, about_.certificate.issuer) != former.end())
    return conflict(
        fmt::format("{} itself still uses a certificate of the former CA; it renews it by itself "
                    "within a minute, or its log says why not",
                    about_.name));
  if (auto wrong = against_leaving(*view, leave_behind, "nobody would let them in any more"))
    return std::unexpected(std::move(*wrong));
  auto trusted = folder_.anchors();
  if (!trusted) return failed(trusted.error());
  std::vector<Certificate> all = trusted->certificates();
  std::erase(all, *rollover->former);
  auto anchors = Anchors::from_certificates(std::move(all));
  if (!anchors) return failed(anchors.error());
  if (auto said = say_anchors(*anchors, {}, {rollover->former->fingerprint()},
                              {clock_.wall(), caller.name, "CA roll-over finished", about_.group,
                               text_of(*rollover->former) + " is trusted no more"});
      !said)
    return failed(said.error());
  if (auto done = folder_.install_anchors(*anchors); !done) return failed(done.error());
  if (auto done = folder_.forget_former(); !done) return failed(done.error());
  about_.anchors = *anchors;
  return authority();
}

}  // namespace postern
