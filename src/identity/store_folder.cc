#include "identity/store_folder.h"

#include <openssl/pem.h>

#include <algorithm>

#include "identity/import.h"
#include "identity/openssl.h"

namespace postern {
namespace {

/// One block of a PEM text; its data is wiped when it ends, because it may be a key.
struct PemBlock {
  char* label = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;

  PemBlock() = default;
  PemBlock(const PemBlock&) = delete;
  PemBlock& operator=(const PemBlock&) = delete;
  ~PemBlock() {
    OPENSSL_free(label);
    OPENSSL_free(header);
    OPENSSL_clear_free(data, static_cast<std::size_t>(size));
  }
  bool read(BIO* in) { return PEM_read_bio(in, &label, &header, &data, &size) == 1; }
  ByteView bytes() const {
    return {reinterpret_cast<const std::byte*>(data), static_cast<std::size_t>(size)};
  }
};

void add_certificate(StoreContents& store, const std::filesystem::path& file,
                     Result<Certificate> certificate, bool locked = false) {
  if (!certificate) {
    store.notes.push_back(
        fmt::format("{}: {}; skipped", file.string(), certificate.error().message));
    store.damaged_certificates.push_back({certificate.error(), file});
    return;
  }
  const bool known = std::any_of(store.certificates.begin(), store.certificates.end(),
                                 [&](const auto& found) { return found.what == *certificate; });
  if (!known) store.certificates.push_back({std::move(*certificate), file, locked});
}

void add_key(StoreContents& store, const std::filesystem::path& file, Result<TlsKey> key) {
  if (key)
    store.keys.push_back({std::move(*key), file});
  else
    store.notes.push_back(fmt::format("{}: {}; skipped", file.string(), key.error().message));
}

void note_password(StoreContents& store, const std::filesystem::path& file) {
  store.notes.push_back(
      fmt::format("{}: the private key needs a password; skipped; write it without one: openssl "
                  "pkcs8 -topk8 -nocrypt -in {} -out KEY.pem && chmod 600 KEY.pem",
                  file.string(), file.string()));
}

void read_pem(StoreContents& store, const std::filesystem::path& file, ByteView bytes) {
  const BioPtr in = reading(bytes);
  for (;;) {
    PemBlock block;
    if (!block.read(in.get())) break;
    const std::string_view label = block.label;
    const bool locked = label == "ENCRYPTED PRIVATE KEY" ||
                        std::string_view(block.header).find("ENCRYPTED") != std::string_view::npos;
    if (locked)
      note_password(store, file);
    else if (label == "CERTIFICATE" || label == "X509 CERTIFICATE")
      add_certificate(store, file, Certificate::from_der(block.bytes()));
    else if (label.ends_with("PRIVATE KEY"))
      add_key(store, file, TlsKey::from_der(block.bytes()));
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const std::string reason = openssl_reason();
  if (!at_end)
    store.notes.push_back(fmt::format("{}: a damaged PEM block ({}); what follows it is skipped",
                                      file.string(), reason));
}

void read_container(StoreContents& store, const std::filesystem::path& file, ByteView bytes,
                    std::optional<std::string_view> password) {
  auto opened = read_pkcs12(bytes, password);
  if (!opened) {
    store.notes.push_back(fmt::format("{}: {}; skipped", file.string(), opened.error().message));
    store.damaged_containers.push_back({opened.error(), file});
    return;
  }
  store.containers.push_back({opened->password, file});
  const bool locked = opened->password != Pkcs12::Password::none_needed;
  if (opened->password == Pkcs12::Password::wrong)
    store.notes.push_back(
        fmt::format("{}: a PKCS#12 file with a password; skipped; name both: postern cert import "
                    "--subject-name NAME --pkcs12 {} --password-file FILE",
                    file.string(), file.string()));
  for (auto& certificate : opened->certificates)
    add_certificate(store, file, std::move(certificate), locked);
  for (auto& key : opened->keys) store.keys.push_back({std::move(key), file, locked});
}

void read_der(StoreContents& store, const std::filesystem::path& file, ByteView bytes,
              std::optional<std::string_view> password) {
  if (auto certificate = Certificate::from_der(bytes))
    return add_certificate(store, file, std::move(certificate));
  if (is_pkcs12(bytes)) return read_container(store, file, bytes, password);
  if (auto key = TlsKey::from_der(bytes)) return add_key(store, file, std::move(key));
  ERR_clear_error();
  store.notes.push_back(
      fmt::format("{}: neither a certificate nor an unencrypted private key (PEM or DER); skipped",
                  file.string()));
}

void read_one(StoreContents& store, const std::filesystem::path& file, ByteView bytes,
              std::optional<std::string_view> password = std::nullopt) {
  const std::string_view text = as_text(bytes);
  if (is_group_file(text)) {
    if (auto group = parse_group_file(text))
      store.groups.push_back({std::move(*group), file});
    else
      store.damaged_groups.push_back({group.error(), file});
  } else if (text.find("-----BEGIN ") != std::string_view::npos) {
    read_pem(store, file, bytes);
  } else {
    read_der(store, file, bytes, password);
  }
}

}  // namespace

Result<StoreContents> read_store_folder(Disk& disk, const std::filesystem::path& folder) {
  auto names = disk.list(folder);
  if (!names) return std::unexpected(names.error());
  if (names->size() > kStoreFilesMax)
    return fail(Errc::invalid,
                "{} has {} files, the limit is {}; leave only what is to be imported",
                folder.string(), names->size(), kStoreFilesMax);
  StoreContents store;
  for (const std::string& name : *names) {
    const std::filesystem::path file = folder / name;
    // A pipe or a device would block or never end.
    if (const auto status = disk.status(file); !status || !status->regular) continue;
    ++store.files;
    auto bytes = disk.read_file(file, kStoreFileBytesMax);
    if (!bytes) {
      store.notes.push_back(bytes.error().message + "; skipped");
      continue;
    }
    read_one(store, file, *bytes);
    OPENSSL_cleanse(bytes->data(), bytes->size());
  }
  return store;
}

Result<StoreContents> read_store_files(Disk& disk, std::span<const std::filesystem::path> files,
                                       std::optional<std::string_view> password) {
  StoreContents store;
  for (const std::filesystem::path& file : files) {
    const auto status = disk.status(file);
    if (!status) return std::unexpected(status.error());
    if (!status->regular)
      return fail(Errc::invalid, "{} is not a regular file; name the certificate's file",
                  file.string());
    auto bytes = disk.read_file(file, kStoreFileBytesMax);
    if (!bytes) return std::unexpected(bytes.error());
    ++store.files;
    read_one(store, file, *bytes, password);
    OPENSSL_cleanse(bytes->data(), bytes->size());
  }
  return store;
}

std::optional<Finding> password_finding(const StoreContents& store,
                                        const std::filesystem::path& file) {
  const auto container = std::find_if(store.containers.begin(), store.containers.end(),
                                      [&](const auto& one) { return one.file == file; });
  if (container == store.containers.end()) return std::nullopt;
  constexpr const char* kRequirement = "PKCS#12 password";
  switch (container->what) {
    case Pkcs12::Password::none_needed:
      return Finding{Reason::ok, kRequirement, true, file.string() + " opens without one"};
    case Pkcs12::Password::right:
      return Finding{Reason::ok, kRequirement, true, "opens " + file.string()};
    case Pkcs12::Password::wrong:
      break;
  }
  return Finding{Reason::wrong_password, kRequirement, false,
                 file.string() +
                     " does not open with the password given, nor without one; put its password "
                     "into a file that only you can read and name it with --password-file"};
}

}  // namespace postern
