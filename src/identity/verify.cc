#include "identity/verify.h"

#include <algorithm>

#include "identity/key.h"
#include "identity/store_folder.h"

namespace postern {
namespace {

Finding finding(Reason reason, std::string requirement, std::string words) {
  return {reason, std::move(requirement), reason == Reason::ok, std::move(words)};
}

Result<Anchors> anchors_for(Disk& disk, const VerifyRequest& request, const StoreContents& store) {
  if (request.anchors) {
    const std::filesystem::path files[] = {*request.anchors};
    auto read = read_store_files(disk, files);
    if (!read) return fail(read.error(), "the anchors");
    if (!read->groups.empty()) return read->groups.front().what.anchors;
    if (!read->damaged_groups.empty())
      return fail(read->damaged_groups.front().what, request.anchors->string());
    if (!read->damaged_certificates.empty())
      return fail(read->damaged_certificates.front().what, request.anchors->string());
    if (read->certificates.empty())
      return fail(Errc::invalid,
                  "{} has no certificate in it; give the CA's certificates or what `postern group "
                  "export` wrote",
                  request.anchors->string());
    std::vector<Certificate> certificates;
    for (auto& found : read->certificates) certificates.push_back(std::move(found.what));
    auto made = Anchors::from_certificates(std::move(certificates));
    if (!made) return fail(made.error(), request.anchors->string());
    return made;
  }
  if (!store.damaged_groups.empty())
    return fail(store.damaged_groups.front().what, store.damaged_groups.front().file.string());
  return store.groups.empty() ? request.known_anchors : store.groups.front().what.anchors;
}

/// Without a name that was asked for: its own first one; else its common name, which does not
/// count and lets the finding say what to ask for.
std::string name_of(const Certificate& certificate) {
  for (const std::string& name : certificate.dns_names())
    if (auto normal = normal_fqdn(name)) return *normal;
  return normal_fqdn(certificate.subject_common_name()).value_or("the FQDN of its node");
}

void check_key(Disk& disk, StoreContents& store, std::optional<unsigned> also_owner,
               VerifyReport& report) {
  if (store.keys.empty()) {
    report.notes.push_back(
        "the private key was not looked at: name its file with --key to see that it belongs to it");
    return;
  }
  const auto belongs = std::find_if(store.keys.begin(), store.keys.end(), [&](const auto& key) {
    return key.what.matches(*report.certificate);
  });
  if (belongs == store.keys.end()) {
    report.findings.push_back(
        finding(Reason::no_private_key, "private key",
                fmt::format("the key in {} ({}) is another one than the certificate's ({}); find "
                            "the key that the request was made with, or request a new certificate",
                            store.keys.front().file.string(), store.keys.front().what.kind_text(),
                            report.certificate->key_kind())));
    return;
  }
  report.findings.push_back(
      finding(Reason::ok, "private key", "belongs to it: " + belongs->file.string()));
  if (belongs->locked) {
    report.findings.push_back(
        finding(Reason::ok, "key permissions", "the private key is encrypted with the password"));
    return;
  }
  const auto safe = check_private_file(disk, belongs->file, also_owner);
  report.findings.push_back(
      safe ? finding(Reason::ok, "key permissions", "only its owner can reach the private key")
           : finding(Reason::unsafe_permissions, "key permissions", safe.error().message));
  report.credential.emplace(TlsCredential{std::move(belongs->what), {}});
  report.credential->chain = report.chain;
}

}  // namespace

Result<VerifyReport> verify_certificate(Disk& disk, const VerifyRequest& request) {
  std::optional<std::string> name;
  if (request.name) {
    auto normal = normal_fqdn(*request.name);
    if (!normal) return std::unexpected(normal.error());
    name = std::move(*normal);
  }
  std::vector<std::filesystem::path> files = request.files;
  if (request.key) files.push_back(*request.key);
  auto store = read_store_files(disk, files, request.password);
  if (!store) return std::unexpected(store.error());
  auto anchors = anchors_for(disk, request, *store);
  if (!anchors) return std::unexpected(anchors.error());

  VerifyReport report;
  report.notes = store->notes;
  if (!store->damaged_containers.empty()) {
    const auto& [error, file, locked] = store->damaged_containers.front();
    report.file = file;
    report.findings.push_back(
        finding(Reason::malformed, "form", fmt::format("{}: {}", file.string(), error.message)));
    return report;
  }
  for (const auto& container : store->containers)
    report.findings.push_back(*password_finding(*store, container.file));
  if (const auto wrong = first_failure(report.findings)) {
    report.file = store->containers.front().file;
    return report;
  }
  // A peer reads all that it is shown before it judges any of it.
  if (!store->damaged_certificates.empty()) {
    const auto& [error, file, locked] = store->damaged_certificates.front();
    report.file = file;
    report.findings.push_back(
        finding(Reason::malformed, "form",
                fmt::format("{}: {}; have it issued anew", file.string(), error.message)));
    return report;
  }
  if (store->certificates.empty()) {
    std::string notes;
    for (const std::string& note : store->notes) notes += "\n  " + note;
    return fail(Errc::invalid, "there is no certificate in {}{}", request.files.front().string(),
                notes);
  }
  report.anchors = *anchors;
  report.file = store->certificates.front().file;
  report.certificate = store->certificates.front().what;
  for (const auto& found : store->certificates) report.chain.push_back(found.what);
  auto findings =
      check_certificate(*report.certificate, std::span(report.chain).subspan(1), *anchors,
                        {.now = request.now,
                         .name = name.value_or(name_of(*report.certificate)),
                         .as_server = request.as_server});
  report.findings.insert(report.findings.end(), std::make_move_iterator(findings.begin()),
                         std::make_move_iterator(findings.end()));
  if (!name)
    report.notes.push_back(
        "no name was asked for: a node that has it must be called as it says; see --name");
  check_key(disk, *store, request.also_owner, report);
  return report;
}

}  // namespace postern
