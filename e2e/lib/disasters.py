"""A whole group on disks that lose power, fail and fill up, killed at random and started again by
nothing but starting: what `./dev e2e disasters` and the short run of the end-to-end tests share."""
import collections
import dataclasses
import random
import re
import statistics
import time

import judge
import spool_file
from lossy import LossyFolder, Tmpfs
from postern import Failure, Group, expect, poll, to_seconds

AGENTS_BEHIND_EACH = 5
DOWN_SECONDS_MAX = 1.0
TROUBLE_SECONDS_MAX = 3.0
CUT_SECONDS_MAX = 1.5
CUT_BEFORE = ["write", "sync", "sync", "create", "rename", "remove", "change"]
SMALL_DISK = "40m"
SETTLE_SECONDS_MAX = 180  # what is missing is asked for after a minute (rule D5)
LEDGER_SECONDS_MAX = 30
# What a program says when it is there again.
READY = {"agent": "spool open", "gateway": " listens on ", "server": " listens on "}
WEIGHTS = {"agent": 4, "gateway": 4, "server": 2}
# One loss of power after three plain kills would be too few: the disk is what is new here.
ACTIONS = {"kill": 8, "power": 8, "fault": 2, "full": 1, "read-only": 1}


class LossyGroup(Group):
    """Every machine's state folder is on a lossyfs; those named in `small` on a tmpfs as well."""

    def __init__(self, folder, small=()):
        super().__init__(folder)
        self.small = small
        self.disks, self.tmpfs = {}, {}

    def machine(self, name, role, **where):
        machine = super().machine(name, role, **where)
        backing = machine.folder / "disk"
        if name in self.small:
            self.tmpfs[name] = Tmpfs(backing, SMALL_DISK)
            backing = backing / "backing"
        self.disks[name] = LossyFolder(machine.state, backing, machine.folder / "disk.socket")
        return machine

    def close(self):
        for disk in self.disks.values():
            if disk.daemon.running:
                disk.heal()
        super().close()
        for mounted in (*self.disks.values(), *self.tmpfs.values()):
            mounted.close()

    def two_gateways_ten_agents(self, agents=AGENTS_BEHIND_EACH, link=None):
        """`link(server)` is where gw1 reaches its parent instead."""
        server = self.make_server()
        self.start_server()
        gw1 = self.add("gw1.dmz.example", "gateway", server, start=False)
        if link:
            way = link(server)
            gw1.set("parents", f"[{{name: {server.name}, address: '{way.address}:{way.port}'}}]")
        gw1.start()
        gw2 = self.add("gw2.site.example", "gateway", gw1)
        for number in range(1, agents + 1):
            self.add(f"a{number}.dmz.example", "agent", gw1)
            self.add(f"a{agents + number}.site.example", "agent", gw2)
        for machine in self.machines[1:]:
            machine.wait_said("attached to", seconds=30)
        for disk in self.disks.values():
            disk.sync()  # what came before the first loss of power was long ago
        return server, gw1, gw2


@dataclasses.dataclass
class Plight:
    """What is wrong with a machine now, and until when."""
    start_at: float = 0.0       # when it is not running
    heal_at: float = 0.0        # when its disk is in trouble; 0: it is not
    cut_by: float = 0.0         # power is about to fail, then at the latest; 0: it is not
    started: float = 0.0        # wall clock of the last start
    mark: int = 0               # the log's end then
    ready: bool = True


class Disasters:
    """The schedule comes from the seed alone; what a process is doing at that moment does not."""

    def __init__(self, group, seed, say=print, server_disk_fails=False):
        """With `server_disk_fails` the server's own batches may be lost, which have no other copy."""
        self.group, self.seed, self.say = group, seed, say
        self.server_disk_fails = server_disk_fails
        self.chance = random.Random(seed)
        self.plights = {machine.name: Plight() for machine in group.machines}
        self.counts = collections.Counter()
        self.by_role = collections.Counter()
        self.losses = collections.Counter()
        self.restarts = collections.defaultdict(list)
        self.ended_alone = []
        self.witnesses = collections.defaultdict(dict)
        self.healed = 0.0

    # ---- one machine

    def _kill(self, machine):
        if machine.running:
            self.group.disks[machine.name].kill(machine.daemon)
        plight = self.plights[machine.name]
        plight.start_at = time.monotonic() + self.chance.uniform(0, DOWN_SECONDS_MAX)
        plight.ready = True  # a start that was cut short is not measured

    def _start(self, machine):
        plight = self.plights[machine.name]
        plight.mark, plight.started, plight.ready = machine.mark(), time.time(), False
        machine.start()

    def _heal(self, machine):
        tmpfs = self.group.tmpfs.get(machine.name)
        if tmpfs:
            expect(tmpfs.remount("rw"), f"the disk of {machine.name} stays read-only")
            tmpfs.empty()
        self.group.disks[machine.name].heal()
        self.plights[machine.name].heal_at = 0.0

    def _look(self, machine, now):
        """Starts what is due, heals what is due, measures restarts."""
        plight = self.plights[machine.name]
        if plight.cut_by and (now >= plight.cut_by or
                              self.group.disks[machine.name].figures()["cut"]):
            self._power_is_cut(machine)
        if plight.heal_at and not plight.cut_by and now >= plight.heal_at:
            self._heal(machine)
        if machine.running:
            line = not plight.ready and machine.said(READY[machine.role], mark=plight.mark)
            if line:
                plight.ready = True
                if not plight.heal_at:
                    self.restarts[machine.role].append(to_seconds(line.split()[0]) - plight.started)
            return
        if plight.start_at == 0.0:
            # Nobody killed it. As a service manager does: once more, a little later.
            self.counts["ended by itself"] += 1
            self.ended_alone.append((machine.name, bool(plight.heal_at), machine.tail(1).strip()))
            plight.start_at = now + 0.5
        if now >= plight.start_at:
            plight.start_at = 0.0
            self._start(machine)

    # ---- what happens to it

    def kill(self, machine):
        if self.plights[machine.name].cut_by:
            return self._power_is_cut(machine)
        self._kill(machine)
        self.counts["kills"] += 1
        self.by_role[machine.role, "kill"] += 1
        return None

    def power(self, machine):
        """Where it hurts: before a certain call of a program that runs."""
        plight = self.plights[machine.name]
        if machine.running and not plight.cut_by:
            self.group.disks[machine.name].cut(self.chance.choice(CUT_BEFORE),
                                               self.chance.randint(1, 12))
            plight.cut_by = time.monotonic() + CUT_SECONDS_MAX

    def _power_is_cut(self, machine):
        disk, plight = self.group.disks[machine.name], self.plights[machine.name]
        seed = self.seed ^ self.counts["power losses"]
        disk.cut()
        if machine.running:
            disk.end(machine.daemon)
        self._kill(machine)
        plight.cut_by = 0.0
        if plight.heal_at:
            self._heal(machine)  # undoing needs room, and a disk that can be written
        lost = disk.lose_power(seed)
        self.losses.update(lost)
        self.counts["power losses"] += 1
        self.by_role[machine.role, "power"] += 1
        if machine.role != "server":
            for key, found in spool_file.batches(disk.data / "spool").items():
                self.witnesses[key].update(found)

    def fault(self, machine):
        """A disk that fails or hangs for a while."""
        disk = self.group.disks[machine.name]
        if self.plights[machine.name].cut_by:
            return None
        if machine.role == "server" and not self.server_disk_fails:
            return self.kill(machine)
        number = self.chance.randint(1, 20)
        kind = self.chance.choice(["EIO", "ENOSPC", "EDQUOT", "EROFS", "hang"])
        calls = self.chance.choice(["write", "sync", "create", "change"])
        always = self.chance.random() < 0.5
        if kind == "hang":
            disk.hang(calls, number, always)
        else:
            disk.fail(calls, kind, number, always)
        self._trouble(machine)
        self.counts["disks that failed or hung"] += 1
        return None

    def full(self, _):
        machine = self.chance.choice(self._small())
        if not self.plights[machine.name].heal_at:
            self.group.tmpfs[machine.name].fill()
            self._trouble(machine)
            self.counts["disks that were full"] += 1

    def read_only(self, _):
        """The kernel refuses while files are open for writing: the program starts on it."""
        machine = self.chance.choice(self._small())
        if self.plights[machine.name].heal_at or self.plights[machine.name].cut_by:
            return
        self.kill(machine)
        self.group.disks[machine.name].sync()
        tmpfs = self.group.tmpfs[machine.name]
        poll(f"{tmpfs.folder} becomes read-only", lambda: tmpfs.remount("ro"), 5)
        self._trouble(machine)
        self.counts["disks remounted read-only"] += 1

    def _small(self):
        return [machine for machine in self.group.machines if machine.name in self.group.tmpfs]

    def _trouble(self, machine):
        self.plights[machine.name].heal_at = (
            time.monotonic() + self.chance.uniform(0.5, TROUBLE_SECONDS_MAX))

    # ---- the run

    def run(self, seconds, breaks):
        """At least `breaks` kills and losses of power, spread over `seconds`."""
        actions = {"kill": self.kill, "power": self.power, "fault": self.fault, "full": self.full,
                   "read-only": self.read_only}
        started, done = time.monotonic(), 0
        self.begun = started
        due = started
        while done < breaks or time.monotonic() < started + seconds:
            now = time.monotonic()
            for machine in self.group.machines:
                self._look(machine, now)
            if now < due:
                time.sleep(0.02)
                continue
            due += seconds / breaks
            weights = [WEIGHTS[machine.role] / sum(m.role == machine.role for m in self.group.machines)
                       for machine in self.group.machines]
            machine = self.chance.choices(self.group.machines, weights)[0]
            action = self.chance.choices(list(ACTIONS), list(ACTIONS.values()))[0]
            actions[action](machine)
            done = self.counts["kills"] + self.counts["power losses"]
        self.broke_seconds = time.monotonic() - started

    def repair(self):
        """All disks are well, everything runs: nothing else is done."""
        for machine in self.group.machines:
            if self.plights[machine.name].cut_by:
                self._power_is_cut(machine)
            self._heal(machine)

        def all_ready():
            now = time.monotonic()
            for machine in self.group.machines:
                self._look(machine, now)
            late = [machine.name for machine in self.group.machines
                    if not (machine.running and self.plights[machine.name].ready)]
            expect(not late, f"{late} are not there again")
            return True
        poll("every process is there again", all_ready, 60)
        self.group.wait_answers()
        self.healed = time.time()

    def settle(self, seconds=SETTLE_SECONDS_MAX):
        """Until the store has, of every node, something measured after the repair, nothing is
        missing, and its children say that nothing is unsettled. Returns the verdict in any case."""
        copy = self.group.folder / "judged.sqlite"
        verdict = None

        def probe():
            nonlocal verdict
            copy.unlink(missing_ok=True)
            verdict = judge.judge(judge.copy_of(self.group.server.state / "store.sqlite", copy),
                                  self.witnesses)
            newest = collections.Counter()
            for key, stream in verdict.streams.items():
                if key[3] == "metric" and stream.archived:
                    newest[key[0]] = max(newest[key[0]],
                                         stream.archived[max(stream.archived)].sealed_ms)
            late = [machine.name for machine in self.group.machines
                    if machine.role != "server" and
                    newest[self._id(machine)] < self.healed * 1000]
            expect(not late, f"nothing new of {late}")
            expect(not verdict.missing, f"{len(verdict.missing)} are missing: {verdict.missing[:5]}")
            return True
        try:
            poll("everything is settled", probe, seconds, every=1.0)
            self.settled = True
        except Failure as failure:
            self.settled = False
            self.say(f"{failure}")
        self.settle_seconds = time.time() - self.healed
        return verdict

    def _id(self, machine):
        if not hasattr(self, "_ids"):
            self._ids = {item["name"]: item["id"] for item in self.group.ask("inventory")["items"]}
        return self._ids.get(machine.name)

    @property
    def fine(self):
        return self.settled and self.ledger_fits and self.verdict.clean

    # ---- the report

    def report(self, verdict):
        self.verdict = verdict
        say, names = self.say, {}
        for machine in self.group.machines:
            names[self._id(machine)] = machine
        epochs = collections.defaultdict(set)
        for node, ordinal, rand, _ in verdict.streams:
            epochs[node].add((ordinal, rand))
        say(f"seed {self.seed}: {self.broke_seconds:.0f} s of disasters, settled "
            f"{self.settle_seconds:.0f} s after the repair")
        say("what was done:")
        for what, count in sorted(self.counts.items()):
            say(f"  {what:28} {count:6}")
        for role in READY:
            say(f"  {role}: {self.by_role[role, 'kill']} kills, {self.by_role[role, 'power']} losses of power")
        say(f"  blocks kept {self.losses['blocks_kept']}, lost {self.losses['blocks_lost']}, "
            f"torn {self.losses['blocks_torn']}; names kept {self.losses['entries_kept']}, "
            f"lost {self.losses['entries_lost']}")
        say("what was applied:")
        for key, stream in sorted(verdict.streams.items(), key=lambda item: (
                names[item[0][0]].name if item[0][0] in names else "?", item[0][1], item[0][3])):
            name = names[key[0]].name if key[0] in names else key[0]
            say(f"  {name:20} epoch {key[1]} {key[3]:7} {len(stream.applied):6} batches"
                f"{'' if not stream.gaps else f', gaps {stream.gaps}'}")
        seen = sum(len(found) for found in self.witnesses.values())
        say(f"  {verdict.applied} batches; {seen} of them seen on disks after a loss of power")
        say(f"lost {len(verdict.missing)}, doubled {len(verdict.doubled)}, "
            f"gaps {len(verdict.gaps)} ({len(verdict.recalled)} batches given up that arrived)")
        for what in (verdict.missing, verdict.doubled):
            for entry in what[:10]:
                say(f"  {entry}")
        self._compare_ledger(verdict)
        renewed = {names[node].name if node in names else node: len(found)
                   for node, found in epochs.items() if len(found) > 1}
        say(f"new epochs: {renewed or 'none'}")
        say("restart until ready:")
        for role, times in self.restarts.items():
            say(f"  {role:8} {len(times):4} times, p50 {statistics.median(times) * 1000:6.0f} ms, "
                f"max {max(times) * 1000:6.0f} ms")
        for name, in_trouble, words in self.ended_alone[:20]:
            say(f"ended by itself{' on a broken disk' if in_trouble else ''}: {words}")
        self._complaints()

    def _compare_ledger(self, verdict):
        """What `postern loss list` says is what the store has: each gap once, and nothing open."""
        known = sorted(("gap", key[0], key[1], key[3], first, last)
                       for key, first, last in verdict.gaps)

        def told():
            return sorted((item["kind"], item["node_id"], item["epoch"]["ordinal"], item["lane"],
                           item["first"], item["last"])
                          for item in self.group.ask("loss", "list")["items"])
        try:
            # A hole that a gap has just explained is listed until the server looks again.
            poll("the ledger is that of the store", lambda: told() == known, LEDGER_SECONDS_MAX)
            self.ledger_fits = True
        except Failure:
            self.ledger_fits = False
        self.say(f"loss ledger: {len(known)} entries, the same" if self.ledger_fits else
                 f"loss ledger: {told()}, but the store has {known}")

    def _complaints(self):
        """Lines that nobody should have to read: by kind, numbers left out."""
        found = collections.Counter()
        for machine in self.group.machines:
            for line in machine.text().splitlines():
                if re.search(r" error |invariant|corrupt|quarantine", line):
                    said = re.sub(r"[0-9a-f]{8,}|\d+|/\S+", "#", line.split(maxsplit=1)[1])
                    found[f"{machine.role}: {said}"] += 1
        for line, count in found.most_common(15):
            self.say(f"{count:5} x {line}")

