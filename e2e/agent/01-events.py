#!/usr/bin/env python3
"""Lines of a log file arrive exactly once each, while the file is rotated in both manners (rename,
copytruncate) and the agent is killed (kill -9) again and again."""
import os
import pathlib
import random
import shutil
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import archive  # noqa: E402
import otlp  # noqa: E402
from postern import expect, main, poll, wait_complete  # noqa: E402

SECONDS = 20
LINES_A_TURN = 20
RECORDS_A_SECOND = 450  # a file: little more than is written, so what a kill delayed is held back
KEPT = 30


class Writer(threading.Thread):
    """Numbered lines; it rotates its own file between two of them, as logrotate may."""

    def __init__(self, path, manner, chance):
        super().__init__(daemon=True)
        self.path, self.manner, self.chance = path, manner, chance
        self.ending, self.count, self.rotations = threading.Event(), 0, 0
        self.path.write_text("")

    def rotate(self):
        for number in range(KEPT, 0, -1):
            old = self.path.with_name(f"{self.path.name}.{number}")
            if old.exists():
                old.rename(self.path.with_name(f"{self.path.name}.{number + 1}"))
        first = self.path.with_name(f"{self.path.name}.1")
        if self.manner == "rename":
            self.path.rename(first)
            self.path.write_text("")
        else:
            shutil.copyfile(self.path, first)
            os.truncate(self.path, 0)
        self.rotations += 1

    def run(self):
        due = time.monotonic() + self.chance.uniform(1, 3)
        while not self.ending.is_set():
            with open(self.path, "a", encoding="ascii") as log:
                for _ in range(LINES_A_TURN):
                    self.count += 1
                    log.write(f"{self.manner} {self.count}\n")
            if time.monotonic() > due:
                self.rotate()
                due = time.monotonic() + self.chance.uniform(1, 3)
            time.sleep(0.05)


def bodies(group, node_id):
    """What the files said; the agent's words about itself (an `events` collector held back) are no
    lines of a file."""
    found = []
    for batch in archive.batches(group.server, node_id):
        if batch.lane != "event" or batch.kind != archive.OTLP_LOGS:
            continue
        for resource in otlp.every(otlp.decompressed(batch.payload), 1):
            for scope in otlp.every(resource, 2):
                for record in otlp.every(scope, 2):
                    if "log.file.path" in otlp.attributes(record, 6):
                        found.append(otlp.any_value(otlp.first(record, 5, default=b"")))
    return found


def read_by_api(group, agent):
    """The same lines as an operator would read them, page by page."""
    found, cursor = [], ""
    while cursor is not None:
        page = group.ask_api(f"/api/v1/nodes/{agent.name}/events?limit=3000{cursor}")
        expect(not page["unreadable"] and not page["not_shown"], f"{page['unreadable']}")
        found += [item["body"] for item in page["items"] if "log.file.path" in item["attributes"]]
        cursor = page["next"] and f"&cursor={page['next']}"
    return found


def test(group):
    seed = int(os.environ.get("POSTERN_SEED") or random.SystemRandom().getrandbits(32))
    print(f"POSTERN_SEED={seed}")
    chance = random.Random(seed)
    server = group.make_server()
    group.start_server()
    gateway = group.add("gw1.dmz.example", "gateway", server)
    agent = group.add("a1.dmz.example", "agent", gateway)
    agent.wait_said("attached to", seconds=20)
    agent.stop()
    logs = group.folder / "logs"
    logs.mkdir()
    agent.set("events", f"{{journal: off, records_per_second_max: {RECORDS_A_SECOND}, "
                        f"files: [{{path: '{logs}/*.log', from: beginning}}]}}")
    writers = [Writer(logs / f"{manner}.log", manner, chance) for manner in ("rename", "copy")]
    for writer in writers:
        writer.start()
    kills, ends = 0, time.monotonic() + SECONDS
    while time.monotonic() < ends:
        agent.start()
        time.sleep(chance.uniform(0.2, 3))
        expect(agent.running, agent.tail())
        agent.kill()
        kills += 1
        time.sleep(chance.uniform(0, 1.5))
    for writer in writers:
        writer.ending.set()
        writer.join()
    agent.start()
    print(f"{kills} kills; " + ", ".join(f"{w.manner}: {w.count} lines, {w.rotations} rotations"
                                         for w in writers))
    wanted = {f"{w.manner} {n}" for w in writers for n in range(1, w.count + 1)}

    def arrived():
        detail = wait_complete(group, agent)
        found = bodies(group, detail["id"])
        missing = wanted - set(found)
        expect(not missing, f"{len(missing)} of {len(wanted)} lines are missing, as {min(missing)}"
               if missing else "")
        return found
    found = poll("every line is in the archive", arrived, 60, every=1)
    expect(len(found) == len(set(found)), f"{len(found) - len(set(found))} lines came twice")
    expect(set(found) == wanted, f"nobody wrote {sorted(set(found) - wanted)[:3]}")
    for words in (" error ", "invariant", "were rotated away"):
        expect(not agent.said(words), f"the agent says {agent.said(words)}")
    expect(agent.said("it is read later, nothing is left out"), "nothing was ever held back")
    through_api = read_by_api(group, agent)
    expect(sorted(through_api) == sorted(found), f"the API shows {len(through_api)} lines")
    print(f"{len(found)} lines, each once")


main(test)
