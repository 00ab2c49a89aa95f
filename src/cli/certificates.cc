#include <fmt/format.h>

#include <filesystem>

#include "base/bytes.h"
#include "cli/installation.h"
#include "cli/session.h"
#include "cli/words.h"
#include "identity/authority.h"
#include "identity/certificate.h"
#include "identity/import.h"
#include "identity/key.h"
#include "identity/state_folder.h"

namespace postern::cli {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr unsigned kPrivateFileMode = 0600;
constexpr unsigned kPublicFileMode = 0644;

TlsKey::Kind key_kind_named(std::string_view name) {
  if (name == "rsa") return TlsKey::Kind::rsa;
  return name == "ed25519" ? TlsKey::Kind::ed25519 : TlsKey::Kind::ec;
}

/// A key that is there already is kept: another certificate may belong to it.
Result<TlsKey> load_or_generate(World& world, const fs::path& path, std::string_view kind) {
  const auto exists = world.disk.exists(path);
  if (!exists) return std::unexpected(exists.error());
  if (*exists) {
    auto pem = read_private_file(world.disk, path);
    if (!pem) return std::unexpected(pem.error());
    auto key = TlsKey::from_pem(*pem);
    wipe(*pem);
    return key;
  }
  TlsKey key = TlsKey::generate(key_kind_named(kind));
  std::string pem = key.to_pem();
  const auto written = world.disk.write_file(path, as_bytes(pem), kPrivateFileMode);
  wipe(pem);
  if (!written) return std::unexpected(written.error());
  return key;
}

Result<std::vector<Certificate>> certificates_to_show(Session& session) {
  World& world = session.world;
  if (session.options.state) return StateFolder(world.disk, *session.options.state).chain();
  const auto bytes = world.disk.read_file(session.options.file, kPemBytesMax);
  if (!bytes) return std::unexpected(bytes.error());
  if (as_text(*bytes).find("-----BEGIN") != std::string_view::npos)
    return certificates_from_pem(as_text(*bytes));
  auto one = Certificate::from_der(*bytes);
  if (!one) return std::unexpected(one.error());
  return std::vector<Certificate>{*one};
}

json::object to_json(const Certificate& certificate) {
  json::array names;
  for (const std::string& name : certificate.dns_names()) names.emplace_back(name);
  return {{"subject", certificate.subject()},
          {"issuer", certificate.issuer()},
          {"dns_names", std::move(names)},
          {"serial", certificate.serial()},
          {"not_before", to_rfc3339(certificate.not_before())},
          {"not_after", to_rfc3339(certificate.not_after())},
          {"server_auth", certificate.has_server_auth()},
          {"client_auth", certificate.has_client_auth()},
          {"authority", certificate.is_ca()},
          {"key", certificate.key_kind()},
          {"signature", certificate.signature_algorithm()},
          {"sha256", to_hex(certificate.fingerprint())},
          {"key_sha256", to_hex(certificate.spki_sha256())}};
}

std::string use_words(const json::value& certificate) {
  if (flag_of(certificate, "authority")) return "certificate authority";
  const bool server = flag_of(certificate, "server_auth");
  const bool client = flag_of(certificate, "client_auth");
  if (server && client) return "server and client";
  return server ? "server only" : client ? "client only" : "neither server nor client";
}

std::string certificates_text(Session& session, const json::value& answer) {
  std::string text;
  for (const json::value& one : list_of(answer, "items")) {
    const auto end = parse_rfc3339(text_of(one, "not_after"));
    text += fmt::format(
        "{}subject    {}\nnames      {}\nissuer     {}\nserial     {}\nvalid      {} to {} ({})\n"
        "use        {}\nkey        {}, signed with {}\nSHA-256    {}\nof its key {}\n",
        text.empty() ? "" : "\n", text_of(one, "subject"), joined(texts_of(one, "dns_names")),
        text_of(one, "issuer"), text_of(one, "serial"), text_of(one, "not_before"),
        text_of(one, "not_after"), end ? left(*end, session.world.clock.wall()) : "-",
        use_words(one), text_of(one, "key"), text_of(one, "signature"), text_of(one, "sha256"),
        text_of(one, "key_sha256"));
  }
  return text;
}

std::string next_steps(const std::string& name, const fs::path& key, const fs::path& csr,
                       const std::string& key_kind) {
  return fmt::format(
      "The private key is {} (it never leaves this machine).\n"
      "The signing request is {}\n"
      "Next:\n"
      "  1. have it signed, by one of\n"
      "     - the built-in authority, on the management server:\n"
      "         postern cert sign {} --out {}.pem\n"
      "     - an enterprise CA: hand in the request for a template with 'Supply in the request' "
      "for "
      "the\n"
      "       subject, key usage Digital Signature, application policies Server Authentication "
      "and\n"
      "       Client Authentication, keys of this kind ({}), SHA-256; the private key\n"
      "       need not be exportable (it stays here); its root must be an anchor of the group\n"
      "     - a public CA: hand in the request; many leave out Client Authentication now, which "
      "agents\n"
      "       and gateways need\n{}"
      "  2. put the signed chain, and the file of `postern group export`, beside the key in {}\n"
      "  3. postern cert verify --name {} --key {} CHAIN\n"
      "  4. postern cert import --subject-name {}\n",
      key.string(), csr.string(), csr.filename().string(), name, key_kind,
      key_kind == "Ed25519" ? "     (Few CAs but the built-in one sign for Ed25519 yet.)\n" : "",
      key.parent_path().string(), name, key.string(), name);
}

}  // namespace

int request_certificate(Session& session) {
  const Options& options = session.options;
  World& world = session.world;
  const auto name = normal_fqdn(options.name);
  if (!name) {
    say_failure(session, "--name: " + name.error().message);
    return kExitUsage;
  }
  const fs::path folder = options.folder.empty() ? kCertificateStore : options.folder;
  if (auto made = world.disk.make_directories(folder); !made)
    return say_failure(session, made.error().message);
  const fs::path key_file = folder / (*name + ".key");
  const fs::path csr_file = folder / (*name + ".csr");
  const auto key = load_or_generate(world, key_file, options.key_kind);
  if (!key) return say_failure(session, key.error().message);
  const auto csr = make_request(*key, *name, options.alternative_names);
  if (!csr) return say_failure(session, csr.error().message);
  if (auto written = world.disk.write_file(csr_file, as_bytes(*csr), kPublicFileMode); !written)
    return say_failure(session, written.error().message);
  if (options.output == Format::table) {
    world.out << next_steps(*name, key_file, csr_file, key->kind_text());
    return kExitDone;
  }
  json::object files;
  files["name"] = *name;
  files["key_file"] = key_file.string();
  files["csr_file"] = csr_file.string();
  return print(session, json::value(std::move(files)), certificates_text);
}

int sign_certificate(Session& session) {
  const Options& options = session.options;
  World& world = session.world;
  const auto csr = world.disk.read_file(options.file, kRequestBytesMax);
  if (!csr) return say_failure(session, csr.error().message);
  json::object body;
  body["csr"] = as_text(*csr);
  if (options.days) body["days"] = *options.days;
  const auto answer = session.client->post("/api/v1/certificates", body);
  if (!answer) return say_failure(session, answer.error().message);
  const std::string chain = text_of(*answer, "chain");
  if (options.out_file) {
    const auto written = world.disk.write_file(*options.out_file, as_bytes(chain), kPublicFileMode);
    if (!written) return say_failure(session, written.error().message);
  }
  if (options.output != Format::table) return print(session, answer, certificates_text);
  if (options.out_file)
    world.out << fmt::format("{} is signed until {}; the chain is in {}\n",
                             text_of(*answer, "subject"), text_of(*answer, "not_after"),
                             *options.out_file);
  else
    world.out << chain << std::flush;
  return kExitDone;
}

int import_certificate(Session& session) {
  const Options& options = session.options;
  const Installation installation{options.name,  options.store,  options.role,
                                  options.state, options.pkcs12, options.password_file};
  const auto outcome = install_certificate(installation, "postern cert import", session.world);
  return outcome == Installed::done ? kExitDone : kExitFailed;
}

int show_certificate(Session& session) {
  const auto certificates = certificates_to_show(session);
  if (!certificates) return say_failure(session, certificates.error().message);
  json::array items;
  for (const Certificate& certificate : *certificates) items.push_back(to_json(certificate));
  json::object answer;
  answer["items"] = std::move(items);
  return print(session, json::value(std::move(answer)), certificates_text);
}

}  // namespace postern::cli
