#include "doctor/revocation.h"

#include <algorithm>
#include <utility>

#include "identity/revocation_list.h"
#include "identity/state_folder.h"
#include "node/admission.h"
#include "node/trust.h"

namespace postern::doctor {
namespace {

namespace fs = std::filesystem;

using Edition = std::pair<std::uint32_t, std::uint64_t>;  // generation, number

struct DenyList {
  Edition edition;
  fs::path state;
  std::optional<node::Trust::Denied> denied;
};

Finding finding(Reason reason, std::string requirement, std::string words) {
  return {reason, std::move(requirement), reason == Reason::ok, std::move(words)};
}

/// What one state folder has; the error says why it has none.
Result<DenyList> deny_list_in(Disk& disk, const fs::path& state, const Certificate& leaf,
                              WallTime now) {
  auto root = StateFolder(disk, state).group_root();
  if (!root) return std::unexpected(root.error());
  if (!*root)
    return fail(Errc::unavailable,
                "{} has no pinned group root, so nothing in it can be believed; import the file of "
                "postern group export there",
                state.string());
  const fs::path folder = state / "documents";
  const auto there = disk.exists(folder);
  if (!there) return std::unexpected(there.error());
  if (*there)
    if (const auto names = disk.list(folder); !names) return std::unexpected(names.error());
  const Log quiet(Level::error, [](Level, std::string_view) {});
  node::Trust trust(quiet, *root, folder, [](const fs::path&, const Bytes&) {});
  trust.load(disk, now);
  for (const wire::pb::DocumentNumber& newest : trust.numbers())
    if (newest.type() == static_cast<std::uint32_t>(node::DocumentType::deny))
      return DenyList{{newest.generation(), newest.number()}, state, trust.denied(leaf.mark())};
  return fail(Errc::unavailable,
              "{} has none that can be believed: nothing was denied in the group before it was "
              "connected last, or it never was; start it, or ask on the management server with "
              "postern cert list",
              state.string());
}

void look_at_deny_list(Disk& disk, const std::vector<fs::path>& states, const Certificate& leaf,
                       WallTime now, RevocationView& view) {
  std::optional<DenyList> newest;
  std::string why =
      "no role of Postern keeps its state here; name one with --state, or ask on the management "
      "server with postern cert list";
  bool first = true;
  for (const fs::path& state : states) {
    auto list = deny_list_in(disk, state, leaf, now);
    if (!list && std::exchange(first, false)) why = list.error().message;
    if (list && (!newest || list->edition > newest->edition)) newest = std::move(*list);
  }
  if (!newest) {
    view.notes.push_back("the deny list is not checked: " + why);
    return;
  }
  const std::string list =
      fmt::format("deny list {} in {}", newest->edition.second, newest->state.string());
  view.findings.push_back(
      newest->denied
          ? finding(Reason::revoked, "deny list",
                    fmt::format("was revoked ({}): it stands on {}; make another one with another "
                                "key: postern cert request, postern cert sign, postern cert import",
                                node::revocation_words(newest->denied->reason), list))
          : finding(Reason::ok, "deny list", fmt::format("does not stand on {}", list)));
}

void look_at_lists(Disk& disk, const CertificateSettings& settings,
                   std::span<const Certificate> chain, const Anchors& anchors, WallTime now,
                   RevocationView& view) {
  if (settings.crl.empty()) {
    view.notes.push_back(
        "lists of outside authorities (CRLs) are not checked: no settings here name any; if its "
        "authority publishes one, fetch it and name it in certificates: {crl: [FILE]}");
    return;
  }
  std::vector<RevocationList> all;
  bool unread = false;
  for (const std::string& file : settings.crl) {
    auto bytes = disk.read_file(file, kRevocationFileBytesMax);
    auto lists = bytes ? read_revocation_lists(file, *bytes, anchors, chain, now)
                       : std::unexpected(bytes.error());
    if (lists) {
      all.insert(all.end(), lists->begin(), lists->end());
      continue;
    }
    unread = true;
    view.notes.push_back("a list of an outside authority is not checked: " + lists.error().message);
  }
  if (all.empty()) return;
  const std::size_t count = all.size();
  const RevocationLists lists(std::move(all), settings.refuse_on_stale_crl
                                                  ? RevocationLists::WhenStale::refuse
                                                  : RevocationLists::WhenStale::warn);
  if (auto objection = lists.objection(chain, now))
    view.findings.push_back(std::move(*objection));
  else
    view.findings.push_back(
        finding(Reason::ok, "revocation",
                fmt::format("stands in none of the {} list(s) of outside authorities{}", count,
                            unread ? " that could be read" : "")));
}

}  // namespace

RevocationView look_at_revocation(Disk& disk, const RevocationPlaces& places,
                                  std::span<const Certificate> chain, const Anchors& anchors,
                                  WallTime now) {
  RevocationView view;
  if (chain.empty()) return view;
  look_at_deny_list(disk, places.states, chain.front(), now, view);
  look_at_lists(disk, places.certificates, chain, anchors, now, view);
  return view;
}

}  // namespace postern::doctor
