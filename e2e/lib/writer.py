"""Lines that an agent reads from a log file, and whether each of them is in the archive once."""
import threading
import time

import archive
import otlp
from postern import expect, poll, wait_complete

LINES_A_TURN = 5


class Writer(threading.Thread):
    """Numbered lines, some every 50 ms, from a thread of its own until end()."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.ending, self.count = path, threading.Event(), 0
        self.path.write_text("")

    @classmethod
    def of(cls, agent):
        """For an agent that has not started yet: starts both."""
        writer = cls(agent.folder / "app.log")
        agent.set("events", f"{{journal: off, files: [{{path: '{writer.path}', from: beginning}}]}}")
        agent.start()
        writer.start()
        return writer

    def run(self):
        while not self.ending.is_set():
            with open(self.path, "a", encoding="ascii") as log:
                for _ in range(LINES_A_TURN):
                    self.count += 1
                    log.write(f"line {self.count}\n")
            time.sleep(0.05)

    def end(self):
        self.ending.set()
        self.join()


def lines_in_the_archive(group, node_id):
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


def each_line_once(group, agent, writer):
    wanted = {f"line {n}" for n in range(1, writer.count + 1)}

    def arrived():
        detail = wait_complete(group, agent, lane="event")
        found = lines_in_the_archive(group, detail["id"])
        expect(wanted <= set(found), f"{agent.name}: {len(wanted - set(found))} lines are missing")
        return found
    found = poll(f"every line of {agent.name} is in the archive", arrived, 60, every=0.5)
    expect(len(found) == len(wanted), f"{agent.name}: {len(found)} lines for {len(wanted)}")
    print(f"{agent.name}: {len(found)} lines, each once")
