#include "net/unix_http.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include "net/http_connection.h"
#include "net/socket.h"

namespace postern {

class UnixHttpServer::Parts final : public Loop::Watcher,
                                    public std::enable_shared_from_this<Parts> {
 public:
  Parts(Loop& core, const Log& log, std::filesystem::path path, HttpHandler handler,
        Descriptor listener)
      : core_(core),
        log_(log),
        path_(std::move(path)),
        handler_(std::move(handler)),
        listener_(std::move(listener)) {}

  void start() { core_.watch(listener_.number(), true, false, shared_from_this()); }

  void stop() {
    std::error_code ignored;
    std::filesystem::remove(path_,
                            ignored);  // first: nobody may find a socket that answers no more
    core_.unwatch(listener_.number());
    listener_.reset();
    for (auto& [id, weak] : std::exchange(connections_, {}))  // their ends call left()
      if (auto connection = weak.lock()) connection->end();
  }

  void on_ready(bool, bool) override {
    while (connections_.size() < kUnixConnectionsMax) {
      Descriptor accepted(
          ::accept4(listener_.number(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!accepted) {
        if (errno == EMFILE || errno == ENFILE) pause();
        return;
      }
      take(std::move(accepted));
    }
    core_.rewatch(listener_.number(), false, false);  // until one leaves
  }

 private:
  void take(Descriptor accepted) {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (::getsockopt(accepted.number(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return;
    const std::uint64_t id = ++last_id_;
    HttpConnection::Origin origin{
        .loop = core_,
        .core = core_,
        .handler = handler_,
        .address = "unix",
        .loopback = true,
        .unix_peer = UnixPeer{credentials.uid, credentials.gid, credentials.pid},
        .ticket = std::shared_ptr<void>(nullptr, [weak = weak_from_this(), id](void*) {
          if (auto parts = weak.lock()) parts->left(id);
        })};
    auto connection = std::make_shared<HttpConnection>(
        std::move(origin), std::make_unique<PlainStream>(std::move(accepted)));
    connections_[id] = connection;
    connection->start();
  }

  void left(std::uint64_t id) {
    connections_.erase(id);
    if (listener_) core_.rewatch(listener_.number(), true, false);
  }

  void pause() {
    log_.warning("{}: no descriptors left; new connections wait", path_.native());
    core_.rewatch(listener_.number(), false, false);
    retry_ = core_.after(std::chrono::seconds(1), [weak = weak_from_this()] {
      auto parts = weak.lock();
      if (parts && parts->listener_) parts->core_.rewatch(parts->listener_.number(), true, false);
    });
  }

  Loop& core_;
  const Log& log_;
  const std::filesystem::path path_;
  const HttpHandler handler_;
  Descriptor listener_;
  std::map<std::uint64_t, std::weak_ptr<HttpConnection>> connections_;
  std::uint64_t last_id_ = 0;
  Loop::Timer retry_;
};

namespace {

/// Whether somebody answers at `path`; otherwise what lies there is a left-over.
Result<> make_way(const std::filesystem::path& path, const sockaddr_un& address) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) return {};
  if (!S_ISSOCK(found.st_mode))
    return fail(Errc::invalid, "{} exists and is no socket; move it away or choose another path",
                path.native());
  const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int connected =
      ::connect(probe.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  if (connected == 0 || errno == EAGAIN)
    return fail(Errc::unavailable, "another process listens on {}; stop it first", path.native());
  ::unlink(path.c_str());
  return {};
}

}  // namespace

UnixHttpServer::UnixHttpServer(std::shared_ptr<Parts> parts) : parts_(std::move(parts)) {}
UnixHttpServer::~UnixHttpServer() { parts_->stop(); }

Result<std::unique_ptr<UnixHttpServer>> UnixHttpServer::listen(Loop& core, const Log& log,
                                                               const std::filesystem::path& path,
                                                               HttpHandler handler, int group) {
  const auto address = unix_address(path);
  if (!address) return std::unexpected(address.error());
  if (auto free = make_way(path, *address); !free) return std::unexpected(free.error());
  Descriptor listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener)
    return fail(Errc::exhausted, "a socket for {}: {}", path.native(), errno_text(errno));
  // On Linux the socket file takes its mode from the socket's own, less the umask: it is never
  // open to others, not even between bind and chmod.
  ::fchmod(listener.number(), 0660);
  const bool bound =
      ::bind(listener.number(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) ==
          0 &&
      (group < 0 ||
       ::lchown(path.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(group)) == 0) &&
      ::chmod(path.c_str(), 0660) == 0 && ::listen(listener.number(), kUnixConnectionsMax) == 0;
  if (!bound) {
    const int why = errno;
    return fail(why == EACCES || why == EPERM ? Errc::denied : Errc::unavailable,
                "listening on {}: {}", path.native(), errno_text(why));
  }
  auto parts = std::make_shared<Parts>(core, log, path, std::move(handler), std::move(listener));
  parts->start();
  return std::unique_ptr<UnixHttpServer>(new UnixHttpServer(std::move(parts)));
}

}  // namespace postern
