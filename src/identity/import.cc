#include "identity/import.h"

#include <algorithm>
#include <tuple>

#include "identity/group_file.h"
#include "identity/key.h"
#include "identity/state_folder.h"
#include "identity/store_folder.h"

namespace postern {
namespace {

using FoundCertificate = StoreContents::Found<Certificate>;

/// A certificate of the wanted name, and how it stands.
struct Candidate {
  const FoundCertificate* certificate;
  std::optional<TlsKey> key;
  std::string key_file;
  std::vector<Finding> findings;

  bool passed() const { return !first_failure(findings); }
};

/// What the state folder and the group file say before anything is changed.
struct Surroundings {
  std::optional<TlsCredential> installed;
  std::optional<Anchors> installed_anchors;
  std::optional<PublicKey> pinned_root;
  const GroupFile* group = nullptr;  // in the store folder
  std::filesystem::path group_path;

  Anchors anchors() const {
    if (group != nullptr) return group->anchors;
    return installed_anchors.value_or(Anchors());
  }
};

/// All that examining finds out; installing needs it and the report does not show it.
struct Examination {
  ImportReport report;
  std::optional<TlsCredential> credential;  // to be installed, when everything passed
  std::optional<GroupFile> group;
  bool tls_is_new = false;
  bool anchors_are_new = false;
  bool root_is_new = false;
};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// By its common name too, so that the answer is what to ask for and not "nothing found".
bool is_for(const Certificate& certificate, const std::string& name) {
  const std::string& common = certificate.subject_common_name();
  return name_matches(certificate, name) ||
         std::equal(common.begin(), common.end(), name.begin(), name.end(),
                    [](char a, char b) { return lower(a) == b; });
}

Finding finding(Reason reason, std::string requirement, std::string words) {
  return {reason, std::move(requirement), reason == Reason::ok, std::move(words)};
}

/// Who can write to the folder decides what is imported from it.
Finding check_store_folder(Disk& disk, const std::filesystem::path& folder) {
  const auto status = disk.status(folder);
  if (status && (status->mode & 022) != 0)
    return finding(Reason::unsafe_permissions, "folder",
                   fmt::format("{} has mode {:04o}: others can put certificates there; run: chmod "
                               "go-w {}",
                               folder.string(), status->mode, folder.string()));
  return finding(Reason::ok, "folder",
                 fmt::format("{} can be written by its owner only", folder.string()));
}

/// Chooses the group file; every file that says it is one must be readable and of one group.
std::optional<Finding> check_group(const StoreContents& store, Surroundings& around) {
  if (!store.damaged_groups.empty()) {
    const auto& [error, file, locked] = store.damaged_groups.front();
    return finding(Reason::malformed, "group",
                   fmt::format("{}: {}; export it again (postern group export)", file.string(),
                               error.message));
  }
  if (store.groups.empty()) return std::nullopt;
  const auto& [group, file, locked] = store.groups.front();
  for (const auto& other : store.groups)
    if (other.what.root != group.root)
      return finding(Reason::other_group, "group",
                     fmt::format("{} and {} are files of different groups; leave one of them",
                                 file.string(), other.file.string()));
  if (around.pinned_root && *around.pinned_root != group.root)
    return finding(
        Reason::other_group, "group",
        fmt::format("{} is of the group '{}' with root {}, but this node is pinned to root {}; if "
                    "it is to change groups, remove group.pem from its state folder first",
                    file.string(), group.name, root_fingerprint(group.root),
                    root_fingerprint(*around.pinned_root)));
  around.group = &group;
  around.group_path = file;
  return finding(
      Reason::ok, "group",
      fmt::format("is of the group '{}' with root {}", group.name, root_fingerprint(group.root)));
}

/// Errors only when something is there and cannot be read: replacing it would hide a fault.
Result<Surroundings> look_around(StateFolder& state, std::vector<std::string>& notes) {
  Surroundings around;
  auto installed = state.tls();
  if (installed)
    around.installed = std::move(*installed);
  else if (installed.error().code != Errc::unavailable)
    notes.push_back("what is installed now cannot be used: " + installed.error().message);
  auto anchors = state.anchors();
  if (anchors)
    around.installed_anchors = std::move(*anchors);
  else if (anchors.error().code != Errc::unavailable)
    return std::unexpected(anchors.error());
  auto root = state.group_root();
  if (!root) return std::unexpected(root.error());
  around.pinned_root = std::move(*root);
  return around;
}

void find_key(Disk& disk, Candidate& candidate, const StoreContents& store,
              const Surroundings& around) {
  const Certificate& certificate = candidate.certificate->what;
  std::optional<Finding> unsafe;
  for (const auto& key : store.keys) {
    if (!key.what.matches(certificate)) continue;
    candidate.key_file = key.file.string();
    candidate.key = key.what;
    // Who reads an encrypted file has not got the key.
    if (key.locked) {
      unsafe.reset();
      break;
    }
    auto safe = check_private_file(disk, key.file);
    if (safe) {
      unsafe.reset();
      break;
    }
    unsafe = finding(Reason::unsafe_permissions, "key permissions", safe.error().message);
  }
  if (!candidate.key && around.installed && around.installed->key.matches(certificate)) {
    candidate.key_file = "the state folder";
    candidate.key = around.installed->key;
  }
  if (!candidate.key) {
    candidate.findings.push_back(
        finding(Reason::no_private_key, "private key",
                fmt::format("its private key ({}) is in none of the {} files; copy the key that "
                            "the request was made with beside it, or request a new certificate",
                            certificate.key_kind(), store.files)));
    return;
  }
  candidate.findings.push_back(
      finding(Reason::ok, "private key", "belongs to it: " + candidate.key_file));
  candidate.findings.push_back(unsafe.value_or(
      finding(Reason::ok, "key permissions", "only its owner can reach the private key")));
}

std::vector<Candidate> candidates_of(Disk& disk, const StoreContents& store,
                                     const Surroundings& around, const std::string& name,
                                     const std::optional<std::filesystem::path>& only_in,
                                     WallTime now) {
  std::vector<Certificate> pool;
  for (const auto& found : store.certificates) pool.push_back(found.what);
  std::vector<Candidate> candidates;
  for (const auto& found : store.certificates) {
    if (!is_for(found.what, name) || (only_in && found.file != *only_in)) continue;
    Candidate candidate{&found, std::nullopt, "", {}};
    candidate.findings =
        check_certificate(found.what, pool, around.anchors(), {.now = now, .name = name});
    find_key(disk, candidate, store, around);
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

/// Usable before unusable, then in time before out of time, then the longest life.
const Candidate& best_of(const std::vector<Candidate>& candidates, WallTime now) {
  const auto rank = [now](const Candidate& candidate) {
    const Certificate& certificate = candidate.certificate->what;
    const bool in_time = certificate.not_before() <= now && now <= certificate.not_after();
    return std::tuple(candidate.passed(), in_time, certificate.not_after());
  };
  return *std::max_element(
      candidates.begin(), candidates.end(),
      [&](const Candidate& a, const Candidate& b) { return rank(a) < rank(b); });
}

/// The folder, and the PKCS#12 file when one is named: then a folder need not be there.
Result<StoreContents> read_all(Disk& disk, const ImportRequest& request) {
  if (!request.pkcs12) return read_store_folder(disk, request.store_folder);
  const std::filesystem::path files[] = {*request.pkcs12};
  auto store = read_store_files(disk, files, request.password);
  if (!store || !disk.exists(request.store_folder).value_or(false)) return store;
  auto folder = read_store_folder(disk, request.store_folder);
  if (!folder) return folder;
  const auto append = [](auto& all, auto& more) {
    all.insert(all.end(), std::make_move_iterator(more.begin()),
               std::make_move_iterator(more.end()));
  };
  append(store->certificates, folder->certificates);
  append(store->keys, folder->keys);
  append(store->groups, folder->groups);
  append(store->damaged_groups, folder->damaged_groups);
  store->files += folder->files;
  return store;
}

/// The named PKCS#12 file, when it cannot be used at all.
std::optional<Finding> check_container(const StoreContents& store, const ImportRequest& request) {
  if (!request.pkcs12) return std::nullopt;
  if (!store.damaged_containers.empty())
    return finding(Reason::malformed, "form",
                   fmt::format("{}: {}", request.pkcs12->string(),
                               store.damaged_containers.front().what.message));
  if (store.containers.empty())
    return finding(Reason::malformed, "form",
                   fmt::format("{} is no PKCS#12 file; put it into {} and leave out --pkcs12",
                               request.pkcs12->string(), request.store_folder.string()));
  auto opened = password_finding(store, *request.pkcs12);
  return opened && !opened->passed ? opened : std::nullopt;
}

std::unexpected<Error> nothing_found(const StoreContents& store, const ImportRequest& request,
                                     const std::string& name) {
  std::string names;
  for (const auto& found : store.certificates) {
    if (found.what.is_ca() || names.size() > 200) continue;
    const auto& of = found.what.dns_names();
    names += (names.empty() ? "" : ", ") + (of.empty() ? found.what.subject() : of.front());
  }
  std::string notes;
  for (const std::string& note : store.notes) notes += "\n  " + note;
  return fail(
      Errc::unavailable,
      "no certificate for {} in {} ({} files read; {}); copy the certificate, its chain and "
      "its private key there{}",
      name, request.pkcs12.value_or(request.store_folder).string(), store.files,
      names.empty() ? "no node's certificate among them" : "certificates there: " + names, notes);
}

void note_choice(ImportReport& report, const std::vector<Candidate>& candidates,
                 const Candidate& chosen) {
  if (candidates.size() < 2) return;
  const Certificate& certificate = chosen.certificate->what;
  report.notes.push_back(fmt::format(
      "{} certificates are for {}; chosen is the one in {} with serial {}, valid to {}: {}",
      candidates.size(), report.subject_name, chosen.certificate->file.string(),
      certificate.serial(), to_rfc3339(certificate.not_after()),
      chosen.passed() ? "the usable one with the longest life" : "none is usable"));
}

/// What the node shows: the leaf and the intermediates; the root is no news to any peer.
std::vector<Certificate> chain_to_show(const Candidate& chosen, const StoreContents& store,
                                       const Anchors& anchors, WallTime now) {
  std::vector<Certificate> pool;
  for (const auto& found : store.certificates) pool.push_back(found.what);
  auto chain = chain_to_anchor(chosen.certificate->what, pool, anchors, now);
  if (chain.size() > 1 && chain.back().is_self_signed()) chain.pop_back();
  return chain;
}

void note_plan(Examination& found, const Surroundings& around) {
  ImportReport& report = found.report;
  if (around.group == nullptr && !around.pinned_root)
    report.notes.push_back(
        "no group file was found: the node stays unpinned, it sends data and obeys nothing but its "
        "own files (postern group export)");
  if (found.anchors_are_new && around.installed_anchors)
    report.notes.push_back(fmt::format("{}: replaces the {} trust anchors by its {}",
                                       around.group_path.string(),
                                       around.installed_anchors->certificates().size(),
                                       found.group->anchors.certificates().size()));
  if (found.root_is_new)
    report.notes.push_back(
        fmt::format("{}: pins the node to the group root {}; compare it with "
                    "what 'postern group export' printed",
                    around.group_path.string(), root_fingerprint(found.group->root)));
  if (report.already_installed)
    report.notes.push_back("this certificate is installed already; no harm");
}

Result<Examination> examine(Disk& disk, const ImportRequest& request) {
  auto name = normal_fqdn(request.subject_name);
  if (!name) return std::unexpected(name.error());
  auto store = read_all(disk, request);
  if (!store) return fail(store.error(), "reading the certificates");

  Examination found;
  ImportReport& report = found.report;
  report.subject_name = *name;
  StateFolder state(disk, request.state_folder);
  auto around = look_around(state, report.notes);
  if (!around) return std::unexpected(around.error());
  auto group = check_group(*store, *around);
  if (const auto unopened = check_container(*store, request)) {
    report.certificate_file = *request.pkcs12;
    report.findings.push_back(*unopened);
    return found;
  }
  const auto candidates = candidates_of(disk, *store, *around, *name, request.pkcs12, request.now);
  if (candidates.empty()) return nothing_found(*store, request, *name);

  const Candidate& chosen = best_of(candidates, request.now);
  report.certificate = chosen.certificate->what;
  report.certificate_file = chosen.certificate->file;
  report.key_file = chosen.key_file;
  report.findings = chosen.findings;
  if (auto opened = password_finding(*store, chosen.certificate->file))
    report.findings.insert(report.findings.begin(), std::move(*opened));
  if (!request.pkcs12 || group)
    report.findings.push_back(check_store_folder(disk, request.store_folder));
  if (group) report.findings.push_back(std::move(*group));
  report.notes.insert(report.notes.end(), store->notes.begin(), store->notes.end());
  note_choice(report, candidates, chosen);
  if (!report.passed()) return found;

  found.credential =
      TlsCredential{*chosen.key, chain_to_show(chosen, *store, around->anchors(), request.now)};
  found.tls_is_new = !around->installed || around->installed->chain != found.credential->chain;
  report.already_installed =
      around->installed && around->installed->chain.front() == *report.certificate;
  if (around->group != nullptr) {
    found.group = *around->group;
    found.root_is_new = !around->pinned_root;
    found.anchors_are_new =
        !around->installed_anchors ||
        around->installed_anchors->certificates() != found.group->anchors.certificates();
  }
  note_plan(found, *around);
  return found;
}

}  // namespace

std::string ImportReport::failures() const {
  std::string text;
  for (const Finding& one : findings)
    if (!one.passed)
      text += fmt::format("{}{}: {} ({})", text.empty() ? "" : "\n", one.requirement, one.words,
                          to_string(one.reason));
  return text;
}

Result<ImportReport> examine_certificate(Disk& disk, const ImportRequest& request) {
  auto found = examine(disk, request);
  if (!found) return std::unexpected(found.error());
  return std::move(found->report);
}

Result<ImportReport> import_certificate(Disk& disk, const ImportRequest& request) {
  auto found = examine(disk, request);
  if (!found) return std::unexpected(found.error());
  if (!found->report.passed())
    return fail(Errc::invalid,
                "the certificate for {} in {} is not imported, nothing is changed:\n{}",
                found->report.subject_name, found->report.certificate_file.string(),
                found->report.failures());
  StateFolder state(disk, request.state_folder);
  // Anchors first: a node that comes up in between can check its peers, and its old pair still
  // serves.
  if (found->anchors_are_new)
    if (auto done = state.install_anchors(found->group->anchors); !done)
      return std::unexpected(done.error());
  if (found->root_is_new)
    if (auto done = state.pin_group_root(found->group->root); !done)
      return std::unexpected(done.error());
  if (found->tls_is_new)
    if (auto done = state.install_tls(*found->credential); !done)
      return std::unexpected(done.error());
  found->report.installed = !found->report.already_installed;
  return std::move(found->report);
}

}  // namespace postern
