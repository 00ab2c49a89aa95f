#include "server/open_store.h"

#include <optional>
#include <string_view>

#include "identity/key.h"
#include "postgresql/postgresql.h"

namespace postern {
namespace {

/// The file may belong to the user of the state folder: `init` runs as root for that user.
Result<std::string> read_password(Disk& disk, const std::filesystem::path& file,
                                  const std::filesystem::path& state_dir) {
  std::optional<unsigned> server;
  if (auto folder = disk.status(state_dir)) server = folder->user;
  auto password = read_password_file(disk, file, server);
  if (!password) return fail(password.error(), "the password of the store");
  if (password->empty())
    return fail(Errc::invalid, "{} is empty; it must hold the password of the store",
                file.string());
  return password;
}

}  // namespace

Result<std::unique_ptr<store::Store>> open_store(const ServerSettings& settings, Disk& disk,
                                                 std::function<void(const std::string&)> warn) {
  constexpr std::string_view kSqlite = "sqlite:";
  if (settings.store.starts_with(kSqlite))
    return store::open_sqlite(settings.store.substr(kSqlite.size()));
  postgresql::Options options{.url = settings.store, .application_name = settings.name};
  options.warn = std::move(warn);
  if (!settings.store_password_file.empty())
    options.password = [&disk, file = settings.store_password_file, state = settings.state_dir] {
      return read_password(disk, file, state);
    };
  return postgresql::open_store(std::move(options));
}

}  // namespace postern
