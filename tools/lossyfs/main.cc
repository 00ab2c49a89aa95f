// lossyfs FOLDER BACKING SOCKET: mounts a folder whose disk can lose power, fail, and hang. For
// tests.
//
// FOLDER shows BACKING/data. What is written there is kept at once, and remembered as unsynced
// until the file (for a new, removed or renamed name: the folder) is synced; unsynced.h says what a
// loss of power does with it. Runs until FOLDER is unmounted or the process is ended. Needs root or
// fusermount3, and /dev/fuse.
//
// SOCKET is a Unix socket: one command a connection, one line there, one line back, `ok ...` or
// `error WORDS`:
//
//   lose SEED                          power fails: unsynced blocks and entries are lost, torn or
//   kept,
//                                      as the number says; faults end. Kill the programs first
//   sync                               everything counts as synced
//   fail CALLS ERROR N once|always     the N-th of these calls from now on fails; and all later
//   ones hang CALLS N once|always           the same, but it does not return until healed heal no
//   faults; what hangs goes on figures                            calls counted by kind, how many
//   hang, what is unsynced
//
//   CALLS  look open read write truncate allocate sync create remove rename,
//          change (write ... rename), any
//   ERROR  ENOSPC EDQUOT EIO EROFS
//
// Modes, owners and times of files are not lost. Hard links, and renaming into another folder, are
// refused as many file systems do between devices. Written pages reach us at once; a shared
// memory map works, but what is written through it counts only when the kernel writes it back.

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <thread>

#include "lossyfs/file_system.h"

namespace postern {
namespace {

constexpr std::size_t kCommandBytesMax = 256;
constexpr unsigned kThreadsMax = 64;  // so many calls may hang, and others still come through

int listen_at(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (std::strlen(path) >= sizeof address.sun_path) return -1;
  std::strcpy(address.sun_path, path);
  ::unlink(path);
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return -1;
  return ::listen(listener, 8) == 0 ? listener : -1;
}

void serve(FileSystem& system, int listener) {
  while (true) {
    const int connection = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) return;
    std::string line;
    char byte = 0;
    while (line.size() < kCommandBytesMax && ::read(connection, &byte, 1) == 1 && byte != '\n')
      line += byte;
    const std::string reply = system.command(line) + "\n";
    // Whoever asked may be gone.
    [[maybe_unused]] const auto sent = ::send(connection, reply.data(), reply.size(), MSG_NOSIGNAL);
    ::close(connection);
  }
}

int run(const char* folder, const char* backing, const char* socket_path) {
  ::umask(0);  // the programs' own has been applied when a call reaches us
  FileSystem system(backing);
  const int listener = listen_at(socket_path);
  if (listener < 0) {
    std::perror(socket_path);
    return 1;
  }
  const fuse_operations calls = FileSystem::operations();
  char name[] = "lossyfs", option[] = "-o", rights[] = "default_permissions,fsname=lossyfs";
  char* words[] = {name, option, rights, nullptr};
  fuse_args arguments = FUSE_ARGS_INIT(3, words);
  fuse* const fuse = fuse_new(&arguments, &calls, sizeof calls, &system);
  if (fuse == nullptr || fuse_mount(fuse, folder) != 0) return 1;
  fuse_set_signal_handlers(fuse_get_session(fuse));

  std::thread control([&] { serve(system, listener); });
  fuse_loop_config* const config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_max_threads(config, kThreadsMax);
  const int status = fuse_loop_mt(fuse, config);
  fuse_loop_cfg_destroy(config);
  fuse_unmount(fuse);
  fuse_destroy(fuse);
  ::shutdown(listener, SHUT_RDWR);
  control.join();
  ::unlink(socket_path);
  fuse_opt_free_args(&arguments);
  return status == 0 ? 0 : 1;
}

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("lossyfs FOLDER BACKING SOCKET; tools/lossyfs/main.cc says more\n", stderr);
    return 2;
  }
  return postern::run(argv[1], argv[2], argv[3]);
}
