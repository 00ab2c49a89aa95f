"""A day in the life of a group, compressed: many simulated agents in one process (tools/crowd) and a
few real ones behind three gateways, while everything is killed and restarted again and again. Then it
is judged: every batch once, by its number, and the alerts that should be open and no others."""
import collections
import os
import random
import re
import shutil
import signal
import statistics
import time

import judge
import spool_file
from api import Api
from postern import BIN, Failure, Group, applied_count, expect, poll, run, to_seconds, wait_complete

DEAD, ABSENT = "dead.dmz.example", "absent.dmz.example"
# What was done on purpose, and the alert that must be open about it at the end. Any other open one
# fails the test.
EXPECTED = (f"heartbeat {DEAD}", f"never-connected {ABSENT}")
ALERT_SETTINGS = "{never_connected_after: 5s}"  # an hour would be longer than the day

DOWN_SECONDS_MAX = 2.0
MANNERS = ("kill", "kill", "stop")  # of ending, each in its turn; who is asked to end must
SETTLE_SECONDS_MAX = 180  # what is missing is asked for after a minute (rule D5)
ALERT_SECONDS_MAX = 60
READY_SECONDS_MAX = 30
WITNESSES_A_KILL = 20  # of the crowd's spools, looked at when it was killed
READY = {"agent": "spool open", "gateway": " listens on ", "server": " listens on ",
         "crowd": " agents run"}


def judge_alerts(expected, causes):
    """(missing, unasked) of the causes of open alerts."""
    return (sorted(set(expected) - set(causes)),
            sorted(cause for cause in causes if cause not in expected))


class Crowd:
    """Many agents, each with its name, identity, certificate and parents, in one process."""
    role = "crowd"

    def __init__(self, group, count, gateways, interval):
        self.group, self.name = group, "crowd"
        self.folder = group.folder / "crowd"
        self.names = [f"c{number:03}.crowd.example" for number in range(1, count + 1)]
        for number, name in enumerate(self.names):
            parents = [gateways[(number + step) % len(gateways)] for step in range(2)]
            written = ", ".join(f"{{name: {one.name}, address: '{one.address}:{one.port}'}}"
                                for one in parents)
            (self.folder / name / "certificates").mkdir(parents=True)
            (self.folder / name / "agent.yaml").write_text(
                f"group: {group.name}\nname: {name}\nstate_dir: {self.folder / name / 'state'}\n"
                f"parents: [{written}]\ninterval: {interval}\nlog_level: warning\n")
        self.daemon = group.daemon(self.name, [BIN / "crowd", self.folder], group.folder / "crowd.log",
                                   env=dict(os.environ))
        self.cpu_seconds = 0.0
        self.kib_max = 0

    def certify(self, api):
        run([BIN / "crowd", "--request", self.folder])
        group_file = self.group.folder / "crowd.postern"
        self.group.postern("group", "export", group_file)
        for name in self.names:
            folder = self.folder / name / "certificates"
            signed = api.ask("POST", "certificates", 201,
                             {"csr": (folder / f"{name}.csr").read_text()})
            (folder / f"{name}.pem").write_text(signed["chain"])
            shutil.copyfile(group_file, folder / "group.postern")
            api.ask("POST", "agents", 201, {"name": name})

    def witnesses(self, chance):
        for name in chance.sample(self.names, min(WITNESSES_A_KILL, len(self.names))):
            yield from spool_file.batches(self.folder / name / "state/spool").items()

    def measure(self):
        """Before it ends: what it took."""
        with open(f"/proc/{self.daemon.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        self.cpu_seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        with open(f"/proc/{self.daemon.pid}/status", encoding="ascii") as file:
            self.kib_max = max(self.kib_max, int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]))

    def __getattr__(self, name):
        if name.startswith("_") or name == "daemon":
            raise AttributeError(name)
        return getattr(self.daemon, name)


class Day:
    """The schedule comes from the seed alone; what a process is doing at that moment does not."""

    def __init__(self, group, seed, say=print):
        self.group, self.seed, self.say = group, seed, say
        self.chance = random.Random(seed)
        self.counts = collections.Counter()
        self.restarts = collections.defaultdict(list)
        self.witnesses = collections.defaultdict(dict)
        self.manners = collections.defaultdict(list)  # by name, what is left of them
        self.start_at = {}  # name: when, while it is down
        self.starting = {}  # name: (wall clock, the log's end), until it is ready

    # ---- setting up

    def begin(self, simulated, interval):
        group, started = self.group, time.monotonic()
        server = group.make_server()
        group.start_server()
        self.api = Api(server)
        gw1 = group.add("gw1.dmz.example", "gateway", server)
        gw2 = group.add("gw2.dmz.example", "gateway", server)
        gw3 = group.add("gw3.site.example", "gateway", gw2)
        gateways = (gw1, gw2, gw3)
        real = [group.add(f"a{number}.dmz.example", "agent", gateway)
                for number, gateway in enumerate(gateways, 1)]
        self.crowd = Crowd(group, simulated, gateways, interval)
        self.crowd.certify(self.api)
        self.crowd.start()
        self.targets = [server, *gateways, *real, self.crowd]
        for machine in (*gateways, *real):
            machine.wait_said("attached to", seconds=READY_SECONDS_MAX)
        self.names = [machine.name for machine in (server, *gateways, *real)] + self.crowd.names
        poll("all agents are connected", self._all_connected, READY_SECONDS_MAX, every=0.5)
        self.say(f"{simulated} simulated and {len(real)} real agents are connected after "
                 f"{time.monotonic() - started:.0f} s")
        server.set("alerts", ALERT_SETTINGS)
        mark = server.mark()
        server.signal(signal.SIGHUP)
        server.wait_said("configuration reloaded", mark=mark)
        group.postern("agent", "approve", ABSENT)
        self._one_that_dies(gw1)

    def _all_connected(self):
        connected = {node["name"] for node in self.api.items("nodes", connected="true")}
        late = [name for name in self.names if name not in connected]
        expect(not late, f"{len(late)} are not connected: {late[:5]}")
        return True

    def _one_that_dies(self, gateway):
        """Just after something of it was applied, so that nothing of it is still on its disk."""
        self.dead = self.group.add(DEAD, "agent", gateway, interval="3s")
        wait_complete(self.group, self.dead)
        before = applied_count(self.group, self.dead)
        poll("one more batch of it", lambda: applied_count(self.group, self.dead) > before, 15)
        wait_complete(self.group, self.dead)
        self.dead.kill()

    # ---- the day

    def run(self, seconds, every):
        """In each round everything is ended once, in another order; nobody waits for the others."""
        begun, due, order = time.monotonic(), time.monotonic(), []
        while time.monotonic() < begun + seconds:
            self._look()
            if time.monotonic() < due:
                time.sleep(0.02)
                continue
            due += every
            if not order:
                order = self.chance.sample(self.targets, len(self.targets))
            self._end(order.pop())
        self.ran_seconds = time.monotonic() - begun

    def _end(self, target):
        if not target.running or target.name in self.starting:
            self.counts["left alone, it was just starting"] += 1
            return
        if target is self.crowd:
            self.crowd.measure()
        manners = self.manners[target.name]
        if not manners:
            manners += self.chance.sample(MANNERS, len(MANNERS))
        if manners.pop() == "kill":
            target.kill()
            self.counts[f"{target.role} killed"] += 1
        else:
            target.stop(seconds=20)
            self.counts[f"{target.role} stopped"] += 1
        if target.role != "server":
            found = (self.crowd.witnesses(self.chance) if target is self.crowd else
                     spool_file.batches(target.state / "spool").items())
            for key, batches in found:
                self.witnesses[key].update(batches)
        self.start_at[target.name] = time.monotonic() + self.chance.uniform(0, DOWN_SECONDS_MAX)

    def _look(self):
        for target in self.targets:
            if target.name in self.start_at:
                if time.monotonic() >= self.start_at[target.name]:
                    del self.start_at[target.name]
                    self.starting[target.name] = (time.time(), target.mark())
                    target.start()
                continue
            expect(target.running, f"{target.name} ended by itself:\n{target.tail()}")
            if target.name in self.starting:
                started, mark = self.starting[target.name]
                line = target.said(READY[target.role], mark=mark)
                if line:
                    del self.starting[target.name]
                    self.restarts[target.role].append(to_seconds(line.split()[0]) - started)

    def evening(self):
        """Everything runs, nothing more is done: until of every node something has arrived that was
        measured after the last restart, and nothing is missing. Returns the verdict in any case."""
        self.start_at = {name: 0.0 for name in self.start_at}

        def all_there():
            self._look()
            expect(not self.starting and not self.start_at, f"not ready: {list(self.starting)}")
            return self._all_connected()
        poll("everything is there again", all_there, 60)
        self.calm = time.time()
        self.crowd.measure()
        self.verdict = None
        try:
            poll("everything has arrived", self._everything_arrived, SETTLE_SECONDS_MAX, every=1.0)
            self.settled = True
        except Failure as failure:
            self.settled = False
            self.say(f"{failure}")
            expect(self.verdict, "the store could not be judged")
        self.settle_seconds = time.time() - self.calm

    def _everything_arrived(self):
        copy = self.group.folder / "judged.sqlite"
        copy.unlink(missing_ok=True)
        ids = {node["name"]: node["id"] for node in self.api.items("nodes")}
        self.verdict = judge.judge(judge.copy_of(self.group.server.state / "store.sqlite", copy),
                                   self.witnesses)
        newest = collections.Counter()
        for key, stream in self.verdict.streams.items():
            if key[3] == "metric" and stream.archived:
                newest[key[0]] = max(newest[key[0]], stream.archived[max(stream.archived)].sealed_ms)
        late = [name for name in self.names if newest[ids[name]] < self.calm * 1000]
        expect(not late, f"nothing new of {len(late)}: {late[:5]}")
        expect(not self.verdict.missing, f"{len(self.verdict.missing)} are missing: {self.verdict.missing[:5]}")
        return True

    # ---- the report

    def alerts(self):
        """Waits for those that must be open, and those that must not."""
        def look():
            self.all_alerts = self.api.items("alerts")
            causes = [one["cause"] for one in self.all_alerts if one["state"] == "open"]
            self.alerts_wrong = judge_alerts(EXPECTED, causes)
            expect(self.alerts_wrong == ([], []), f"missing and unasked: {self.alerts_wrong}")
            return True
        try:
            poll("the alerts are those that should be", look, ALERT_SECONDS_MAX, every=1.0)
        except Failure as failure:
            self.say(f"{failure}")
        self.say(f"alerts that must be open: {', '.join(EXPECTED)}; missing {len(self.alerts_wrong[0])}, "
                 f"unasked {len(self.alerts_wrong[1])}")
        for one in self.all_alerts:
            if one["state"] == "open":
                self.say(f"  open, {one['severity']}: {one['words']}")
        closed = collections.Counter(one["cause"].split()[0] for one in self.all_alerts
                                     if one["state"] == "closed")
        self.say(f"alerts that came and went: {dict(closed) or 'none'}")

    @property
    def fine(self):
        return (self.settled and self.verdict.clean and not self.verdict.gaps and
                self.alerts_wrong == ([], []))

    def report(self):
        say, verdict = self.say, self.verdict
        say(f"seed {self.seed}: {self.ran_seconds:.0f} s, settled {self.settle_seconds:.0f} s later")
        for what, count in sorted(self.counts.items()):
            say(f"  {what:34} {count:5}")
        say("restart until ready:")
        for role, times in sorted(self.restarts.items()):
            say(f"  {role:8} {len(times):4} times, p50 {statistics.median(times) * 1000:6.0f} ms, "
                f"max {max(times) * 1000:6.0f} ms")
        seen = sum(len(found) for found in self.witnesses.values())
        per_node = collections.Counter()
        for key, stream in verdict.streams.items():
            per_node[key[0]] += len(stream.applied)
        say(f"{verdict.applied} batches of {len(per_node)} nodes, {min(per_node.values())} to "
            f"{max(per_node.values())} each; {seen} of them seen on disks after a kill")
        say(f"lost {len(verdict.missing)}, doubled {len(verdict.doubled)}, gaps {len(verdict.gaps)}")
        for entry in (verdict.missing + verdict.doubled + verdict.gaps)[:20]:
            say(f"  {entry}")
        say(f"the simulated agents took {self.crowd.cpu_seconds:.1f} s of CPU, {self.crowd.kib_max / 1024:.0f} MiB")
        self.alerts()
