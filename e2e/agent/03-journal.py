#!/usr/bin/env python3
"""A real journal, written by several at once, rotated and vacuumed, while the agent is killed: what
the API shows is what journalctl shows, entry by entry."""
import collections
import ctypes
import datetime
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from postern import Daemon, expect, main, poll, run, wait_complete  # noqa: E402

CLONE_NEWNS, MS_REC, MS_PRIVATE, MS_BIND = 0x20000, 0x4000, 1 << 18, 0x1000
JOURNALD = "/lib/systemd/systemd-journald"
SECONDS = 12
PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
WORDS = {"emerg": "emergency", "crit": "critical", "err": "error"}  # as the agent calls them
libc = ctypes.CDLL(None, use_errno=True)


def mount(source, target, kind=b"tmpfs", flags=0):
    if libc.mount(source, str(target).encode(), kind, flags, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))


def own_machine(folder):
    """Mounts that nobody else sees: an empty /run, an empty journal on disk, an id."""
    expect(libc.unshare(CLONE_NEWNS) == 0, "no mount namespace of its own: this test wants root")
    mount(b"none", "/", None, MS_REC | MS_PRIVATE)
    machine_id = folder / "machine-id"
    machine_id.write_text(random.SystemRandom().randbytes(16).hex() + "\n")
    pathlib.Path("/etc/machine-id").touch()
    mount(str(machine_id).encode(), "/etc/machine-id", None, MS_BIND)
    mount(b"tmpfs", "/run")
    journal = pathlib.Path("/var/log/journal")
    journal.mkdir(parents=True, exist_ok=True)
    mount(b"tmpfs", journal)
    (journal / machine_id.read_text().strip()).mkdir()
    pathlib.Path("/run/systemd/journal").mkdir(parents=True)


class Journald(Daemon):
    def __init__(self, folder):
        super().__init__("journald", [JOURNALD], folder / "journald.log")

    def start(self):
        super().start()
        poll("journald takes entries", pathlib.Path("/run/systemd/journal/socket").exists)

    def rotate(self):
        self.process.send_signal(signal.SIGUSR2)


class Writer(threading.Thread):
    """A service that logs, by the journal's own datagrams: each field with its size, so that a
    message may have lines and any bytes."""

    def __init__(self, name, chance):
        super().__init__(daemon=True)
        self.name, self.chance, self.count, self.ending = name, chance, 0, threading.Event()

    def message(self):
        self.count += 1
        text = f"{self.name} {self.count}"
        kind = self.chance.randrange(12)
        if kind == 0:
            text += "\nat line two\n\n\tand more"
        elif kind == 1:
            text += " Grüße, 世界 =" + "x" * self.chance.randrange(9000)
        return text.encode()

    def run(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            journal.connect("/run/systemd/journal/socket")
            while not self.ending.is_set():
                for _ in range(self.chance.randrange(1, 12)):
                    text = self.message()
                    journal.send(b"MESSAGE\n" + struct.pack("<Q", len(text)) + text + b"\n"
                                 + f"PRIORITY={self.chance.randrange(8)}\n"
                                   f"SYSLOG_IDENTIFIER={self.name}\n".encode())
                time.sleep(self.chance.uniform(0, 0.06))


def oracle(names):
    """(message, severity, millisecond, identifier) of what journalctl finds, from `warning` on."""
    done = run(["journalctl", "--no-pager", "--all", "--output=json", "--priority=0..4",
                *[f"SYSLOG_IDENTIFIER={name}" for name in names]])
    found = collections.Counter()
    for line in done.out.splitlines():
        entry = json.loads(line)
        priority = PRIORITIES[int(entry["PRIORITY"])]
        stamp = int(entry.get("_SOURCE_REALTIME_TIMESTAMP") or entry["__REALTIME_TIMESTAMP"])
        found[entry["MESSAGE"], WORDS.get(priority, priority), stamp // 1000,
              entry["SYSLOG_IDENTIFIER"]] += 1
    return found


def shown(group, agent, names):
    """The same by the API."""
    found, cursor = collections.Counter(), ""
    while cursor is not None:
        page = group.ask_api(f"/api/v1/nodes/{agent.name}/events?limit=2000{cursor}")
        expect(not page["unreadable"] and not page["not_shown"], f"{page['unreadable']}")
        for item in page["items"]:
            who = item["attributes"].get("syslog.identifier")
            if who in names:
                moment = datetime.datetime.fromisoformat(item["time"].replace("Z", "+00:00"))
                found[item["body"], item["severity_text"], round(moment.timestamp() * 1000), who] += 1
        cursor = page["next"] and f"&cursor={page['next']}"
    return found


def test(group):
    seed = int(os.environ.get("POSTERN_SEED") or random.SystemRandom().getrandbits(32))
    print(f"POSTERN_SEED={seed}")
    chance = random.Random(seed)
    own = pathlib.Path(tempfile.mkdtemp(prefix="journal-"))
    try:
        own_machine(own)
        journald = Journald(own)
        journald.start()
        group.make_server()
        group.start_server()
        gateway = group.add("gw1.dmz.example", "gateway", group.server)
        agent = group.add("a1.dmz.example", "agent", gateway)
        agent.wait_said("attached to", seconds=20)
        agent.stop()
        agent.set("events", "{journal: {priority: warning}}")
        agent.start()
        agent.wait_said("attached to", seconds=20)
        names = ("e2e-web", "e2e-db", "e2e-cron")
        writers = [Writer(name, random.Random(chance.random())) for name in names]
        kills = rotations = 0
        # The first position is durable with the first entry; nobody kills it before.
        first = Writer("e2e-first", random.Random(1))
        first.start()
        poll("the first entries arrive", lambda: shown(group, agent, ["e2e-first"]), 30, every=0.5)
        first.ending.set()
        first.join()
        for writer in writers:
            writer.start()
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            time.sleep(chance.uniform(0.2, 1.5))
            if chance.random() < 0.5:
                journald.rotate()
                rotations += 1
            else:
                agent.kill()
                kills += 1
                time.sleep(chance.uniform(0, 0.8))
                agent.start()
        for writer in writers:
            writer.ending.set()
            writer.join()
        print(f"{sum(w.count for w in writers)} entries, {kills} kills, {rotations} rotations")
        expect(kills > 0, "the agent was never killed")
        wanted = oracle(names)
        expect(sum(wanted.values()) > 100, f"journalctl shows {sum(wanted.values())} entries")

        def all_shown():
            wait_complete(group, agent)
            found = shown(group, agent, names)
            missing = wanted - found
            expect(not missing, f"{sum(missing.values())} of {sum(wanted.values())} are missing, as "
                                f"{str(next(iter(missing), ''))[:300]}")
            return found
        found = poll("every entry is shown", all_shown, 60, every=1)
        extra = found - wanted
        expect(not extra, f"{sum(extra.values())} too many, as {str(next(iter(extra), ''))[:300]}")
        print(f"{sum(found.values())} entries from `warning` on, each as journalctl shows it")
    finally:
        shutil.rmtree(own, ignore_errors=True)


main(test)
