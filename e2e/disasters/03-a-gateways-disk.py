#!/usr/bin/env python3
"""The disk of a gateway is full, then gone, then hangs: the gateway keeps running, the agent behind it
keeps its data, and after the repair everything arrives without anybody's help. Nothing is in the loss
ledger."""
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import archive  # noqa: E402
import judge  # noqa: E402
import spool_file  # noqa: E402
from disasters import LossyGroup  # noqa: E402
from lossy import need_mounts  # noqa: E402
from postern import expect, main, poll, run, wait_complete  # noqa: E402

BATCHES_MEANWHILE = 4  # one a second


def sealed(agent):
    """The newest metric batch on the agent's own disk."""
    return max((max(found) for key, found in spool_file.batches(agent.state / "spool").items()
                if key[3] == "metric"), default=0)


def ready(machine):
    """(status, words) of /readyz; answered whatever the disk does."""
    done = run(["curl", "-sS", "--insecure", "-w", "\n%{http_code}",
                f"https://{machine.address}:{machine.port}/readyz"])
    words, _, status = done.out.rpartition("\n")
    return int(status), words


def breaks(disk, tmpfs):
    """(what, how it breaks, how it is repaired, whether the gateway can notice at once)."""
    def gone():
        disk.fail("any", "EIO", always=True)

    def hangs():
        disk.hang("change", always=True)
    return [("full", tmpfs.fill, tmpfs.empty, True), ("gone", gone, disk.heal, True),
            ("hanging", hangs, disk.heal, False)]


def starts_without_a_disk(group, gateway, agent, what, error):
    """A start finds a disk that takes nothing: the gateway says so, stays, and goes on when it can."""
    disk = group.disks[gateway.name]
    gateway.stop()
    disk.fail("change", error, always=True)
    mark = gateway.mark()
    gateway.start()
    gateway.wait_said("takes nothing", mark=mark)
    expect(gateway.running, f"the gateway ended on a disk that is {what}:\n{gateway.tail()}")
    disk.heal()
    repaired = time.time()
    gateway.wait_said("attached to", mark=mark, seconds=45)
    for machine in (agent, gateway):
        archive.wait_unbroken(group, machine, after=repaired, seconds=60)
    gateway.stop()  # and when it is told to stop meanwhile, it does
    disk.fail("change", error, always=True)
    mark = gateway.mark()
    gateway.start()
    gateway.wait_said("takes nothing", mark=mark)
    gateway.stop()
    disk.heal()
    gateway.start()
    gateway.wait_said("attached to", mark=mark, seconds=45)
    print(f"started on a disk that is {what}: stayed, and went on {time.time() - repaired:.1f} s after")


def test(group):
    need_mounts()
    server, gw1, gw2, agent = group.chain()
    wait_complete(group, agent, at_least=2)
    for what, break_it, repair, is_said in breaks(group.disks[gw2.name], group.tmpfs[gw2.name]):
        mark, before = gw2.mark(), sealed(agent)
        break_it()
        poll(f"the agent goes on while the disk is {what}",
             lambda: sealed(agent) >= before + BATCHES_MEANWHILE, 30)
        expect(gw2.running, f"the gateway ended on a disk that is {what}:\n{gw2.tail()}")
        expect(not is_said or gw2.said("error", mark=mark), f"the gateway says nothing of {what}")
        gw2.wait_said("error", mark=mark)  # a disk that hangs is noticed by its silence
        status = ready(gw2)
        expect(status[0] == 503 and ("disk" in status[1] or "spool" in status[1]),
               f"a disk that is {what}: /readyz says {status}")
        applied = group.show(agent)["streams"]
        behind = sealed(agent) - max(s["applied"][-1][1] for s in applied if s["lane"] == "metric")
        expect(behind >= BATCHES_MEANWHILE - 2, f"{what}: only {behind} batches wait: {applied}")
        repair()
        repaired = time.time()
        for machine in (agent, gw2, gw1):
            found = archive.wait_unbroken(group, machine, after=repaired, seconds=60)
            expect(len({batch.epoch for batch in found}) == 1, f"{machine.name} has new epochs")
        print(f"disk {what}: {behind} batches waited, all arrived {time.time() - repaired:.1f} s "
              "after the repair")
    for what, error in (("read-only", "EROFS"), ("full", "ENOSPC"), ("gone", "EIO")):
        starts_without_a_disk(group, gw2, agent, what, error)
    verdict = judge.judge(judge.copy_of(server.state / "store.sqlite", group.folder / "judged"))
    expect(verdict.clean and not verdict.gaps, f"{verdict.missing} {verdict.doubled} {verdict.gaps}")
    expect(group.ask("loss", "list")["items"] == [], f"{group.ask('loss', 'list')['items']}")


main(test, lambda folder: LossyGroup(folder, small=("gw2.site.example",)))
