#!/usr/bin/env python3
"""Both gateways are killed (kill -9) in the middle of traffic, several times, and at last both lose
their spools: every batch of the agent is applied once, because the agent keeps it until the server
has settled it."""
import pathlib
import shutil
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import archive  # noqa: E402
from postern import expect, main, poll, wait_complete  # noqa: E402

ROUNDS = 3
DOWN_SECONDS = 2  # so long the agent seals what nobody takes


def let_pass(seconds):
    end = time.monotonic() + seconds
    poll("time passes", lambda: time.monotonic() > end, seconds + 5)


def kill_and_start_again(gateways):
    for gateway in gateways:
        gateway.kill()
    let_pass(DOWN_SECONDS)
    marks = {gateway.name: gateway.mark() for gateway in gateways}
    for gateway in gateways:
        gateway.start()
    # As soon as they are attached, the backlog is under way: the next kill hits it.
    for gateway in gateways:
        gateway.wait_said("attached to", mark=marks[gateway.name], seconds=30)


def lose_both_spools(gw1, gw2):
    """gw1 goes first, so that gw2 holds batches that only it and the agent have."""
    gw1.kill()
    let_pass(DOWN_SECONDS)
    gw2.kill()
    for gateway in (gw1, gw2):
        spool = gateway.state / "spool"
        expect(spool.is_dir() and any(spool.rglob("*")), f"{gateway.name} has no spool at {spool}")
        shutil.rmtree(spool)
        gateway.start()


def test(group):
    _, gw1, gw2, agent = group.chain()
    wait_complete(group, agent, at_least=2)

    for _ in range(ROUNDS):
        kill_and_start_again([gw1, gw2])
    healed = time.time()
    batches = archive.wait_unbroken(group, agent, after=healed)
    expect(len({b.epoch for b in batches}) == 1, "the agent opened a new epoch")
    for gateway in (gw1, gw2):
        own = archive.wait_unbroken(group, gateway, after=healed)
        expect(len({b.epoch for b in own}) == 1, f"{gateway.name} opened a new epoch after kill -9")
    print(f"after {ROUNDS} kills of both gateways: {len(batches)} batches, each applied once")

    lose_both_spools(gw1, gw2)
    batches = archive.wait_unbroken(group, agent, after=time.time())
    expect(len({b.epoch for b in batches}) == 1, "the agent opened a new epoch")
    print(f"after both spools were lost: {len(batches)} batches, each applied once")

    # A gateway's own batches were lost with its spool; it goes on in a new epoch, never under
    # numbers that it had given out.
    for gateway in (gw1, gw2):
        def newest_epoch(gateway=gateway):
            found = [s for s in group.show(gateway)["streams"] if s["lane"] == "metric"]
            newest = max(found, key=lambda s: s["epoch"]["ordinal"])
            expect(newest["epoch"]["ordinal"] > 1, f"{gateway.name} is still in epoch 1: {found}")
            return newest["applied"] == [[1, newest["sealed"]]]
        poll(f"{gateway.name} reports again", newest_epoch, 30)
    expect(agent.running, agent.tail())


main(test)
