"""Folders whose disk loses power, fails, hangs, fills up or becomes read-only: tools/lossyfs on top of
a folder or of a tmpfs of its own. Every mount is undone at the end of the test, whatever happens."""
import atexit
import os
import pathlib
import socket
import subprocess
import sys

from postern import BIN, SKIPPED, Daemon, Failure, expect, poll, run

ANSWER_SECONDS_MAX = 20


def need_mounts():
    """Skips the test where nothing can be mounted."""
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        print("needs root and /dev/fuse: a disk is mounted")
        sys.exit(SKIPPED)


def unmount(folder):
    """At once, also when its disk hangs or its process is dead."""
    subprocess.run(["umount", "-l", str(folder)], check=False, stderr=subprocess.DEVNULL)


class Tmpfs:
    """A small file system in memory; ballast() fills it, next to what is stored there."""

    def __init__(self, folder, size):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", self.folder])
        atexit.register(unmount, self.folder)

    def fill(self):
        """Until not one more byte fits."""
        with open(self.folder / "ballast", "ab", buffering=0) as ballast:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError:
                    pass

    def empty(self):
        (self.folder / "ballast").unlink(missing_ok=True)

    def remount(self, how):
        """`ro` or `rw`; False when files are open for writing."""
        done = run(["mount", "-o", f"remount,{how}", self.folder], status=None)
        return done.status == 0

    def close(self):
        unmount(self.folder)


class LossyFolder:
    """`folder` on a lossyfs; its bytes lie in `backing`."""

    def __init__(self, folder, backing, socket_path=None):
        self.folder, self.backing = pathlib.Path(folder), pathlib.Path(backing)
        self.socket = pathlib.Path(socket_path or f"{self.backing}.socket")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.backing.mkdir(parents=True, exist_ok=True)
        self.daemon = Daemon(f"lossyfs {self.folder}",
                             [BIN / "lossyfs", self.folder, self.backing, self.socket],
                             self.socket.with_suffix(".log"))
        self.daemon.start()
        atexit.register(self.close)

        def mounted():
            expect(self.daemon.running, f"lossyfs has ended:\n{self.daemon.tail()}")
            return os.path.ismount(self.folder)
        poll(f"{self.folder} is mounted", mounted)

    @property
    def data(self):
        """What is on the disk, seen without lossyfs."""
        return self.backing / "data"

    def command(self, *words):
        """{key: number} of the answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS_MAX)
            connection.connect(str(self.socket))
            connection.sendall((" ".join(str(word) for word in words) + "\n").encode())
            answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode().strip()
        if not answer.startswith("ok"):
            raise Failure(f"lossyfs {' '.join(map(str, words))}: {answer or 'no answer'}")
        return {key: int(value) for key, value in
                (word.split("=") for word in answer.split()[1:])}

    def lose_power(self, seed):
        """Nobody uses the disk any more."""
        return self.command("lose", seed)

    def cut(self, calls=None, number=1):
        """The power of a disk in use: now, or before the `number`-th of these calls."""
        self.command(*(("cut", calls, number) if calls else ("cut", "now")))

    def end(self, daemon):
        """Kills a program whose disk has no power: it changes nothing any more."""
        daemon.process.kill()
        self.command("release")
        daemon.gone()

    def kill(self, daemon):
        """Kills a program that may be waiting for its disk: what hung goes on first."""
        daemon.process.kill()
        self.heal()
        daemon.gone()

    def sync(self):
        self.command("sync")

    def fail(self, calls, error, number=1, always=False):
        self.command("fail", calls, error, number, "always" if always else "once")

    def hang(self, calls, number=1, always=False):
        self.command("hang", calls, number, "always" if always else "once")

    def slow(self, calls, milliseconds):
        self.command("slow", calls, milliseconds)

    def heal(self):
        self.command("heal")

    def figures(self):
        return self.command("figures")

    def close(self):
        unmount(self.folder)
        if self.daemon.running:
            self.daemon.process.kill()
            self.daemon.process.wait(5)
