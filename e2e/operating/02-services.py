#!/usr/bin/env python3
"""A service manager hears what a program does, and the units are sound: sd_notify on a socket of ours,
systemd-analyze where there is one."""
import os
import pathlib
import re
import shutil
import signal
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from postern import BIN, ROOT, expect, expect_in, main, poll, run, wait_complete  # noqa: E402

EXPOSURE_MAX = 3.0  # of 10, as systemd-analyze security counts


class Manager:
    """The end that systemd has otherwise."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.heard = []

    def listen(self):
        while True:
            try:
                self.heard.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return self.heard

    def wait(self, words, since=0, seconds=15):
        def said():
            expect(any(words in one for one in self.listen()[since:]), f"heard only {self.heard[since:]}")
            return True
        poll(f"the service manager hears {words}", said, seconds)
        return len(self.heard)


def units_are_sound(folder):
    for role in ("agent", "gateway", "server"):
        unit = ROOT / f"packaging/systemd/postern-{role}.service"
        text = unit.read_text()
        for line in ("Type=notify", f"User=postern-{role}", f"StateDirectory=postern/{role}",
                     f"ConditionPathExists=/etc/postern/{role}.yaml", "NoNewPrivileges=yes"):
            expect(line in text.splitlines(), f"{unit.name} has no {line}")
        if not shutil.which("systemd-analyze"):
            print("systemd-analyze is not here; the units were only read")
            continue
        # As installed, but for the place of the program and the manual, which are not installed here.
        copy = folder / unit.name
        copy.write_text(re.sub(r"^Documentation=.*\n", "", text, flags=re.M).replace("/usr/sbin/", f"{BIN}/"))
        done = run(["systemd-analyze", "verify", copy], status=None)
        expect(done.status == 0 and unit.name not in done.err, str(done))
        done = run(["systemd-analyze", "security", "--offline=yes", copy], status=None)
        exposure = re.search(r"exposure level for \S+: ([\d.]+)", done.text)
        if exposure:  # older ones cannot look at a file
            print(f"{unit.name}: exposure {exposure[1]}")
            expect(float(exposure[1]) < EXPOSURE_MAX, f"{unit.name} is exposed: {exposure[1]}")


def test(group):
    units_are_sound(group.folder)
    group.make_server()
    manager = Manager(group.folder / "n")
    os.environ.update(NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="400000")
    group.server.daemon.env = group.env(group.server)
    group.start_server()
    manager.wait("READY=1")
    manager.wait("STATUS=listens on port")
    manager.wait("WATCHDOG=1")
    before = len(manager.listen())
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
        del os.environ[name]

    gateway = group.add("gw1.dmz.example", "gateway", group.server)
    agent = group.add("a1.dmz.example", "agent", gateway)
    wait_complete(group, agent)
    agent.stop()
    agent.daemon.env = dict(group.env(agent), NOTIFY_SOCKET=str(manager.path))
    agent.start()
    manager.wait("READY=1", before)
    manager.wait(f"STATUS=attached to {gateway.name}", before)

    since = len(manager.listen())
    agent.signal(signal.SIGHUP)
    manager.wait("RELOADING=1\nMONOTONIC_USEC=", since)
    manager.wait("READY=1", since)
    since = len(manager.listen())
    agent.stop()
    manager.wait("STOPPING=1", since)
    expect_in("STOPPING=1", "\n".join(manager.heard[since:]), "the end")


main(test)
