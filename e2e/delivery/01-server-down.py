#!/usr/bin/env python3
"""The management server is away for a while: nothing is lost, nothing is doubled, and what was
measured meanwhile is there afterwards."""
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import archive  # noqa: E402
from postern import expect, main, poll, wait_complete  # noqa: E402

AWAY_SECONDS = 10
SETTLED_WITHIN_SECONDS = 10


def waiting_after_restart(agent):
    """How many batches the agent holds, by its own word when it starts."""
    if agent.running:
        agent.kill()
    mark = agent.mark()
    agent.start()
    return int(re.search(r"spool open: (\d+) batches", agent.wait_said("spool open", mark=mark))[1])


def test(group):
    server, gw1, gw2, agent = group.chain()
    nodes = (gw1, gw2, agent)
    before = {machine.name: group.show(machine)["streams"] for machine in nodes}
    wait_complete(group, agent, at_least=2)

    marks = {machine.name: machine.mark() for machine in nodes}
    server.stop()
    gone = time.time()
    gw1.wait_said("lost the parent", mark=marks[gw1.name])
    time.sleep(max(0.0, AWAY_SECONDS - (time.time() - gone)))  # the outage itself
    held = waiting_after_restart(agent)
    expect(held >= AWAY_SECONDS - 2, f"the agent holds {held} batches that nobody has settled")
    back = time.time()
    for machine in nodes:
        expect(machine.running, f"{machine.name} did not survive:\n{machine.tail()}")
    group.start_server()

    for machine in nodes:
        batches = archive.wait_unbroken(group, machine, after=back)
        meanwhile = [b for b in batches
                     if b.lane == "metric" and gone * 1000 + 500 < b.sealed_ms < back * 1000]
        print(f"{machine.name}: {len(batches)} batches, {len(meanwhile)} from the outage")
        expect(len(meanwhile) >= AWAY_SECONDS - 3,
               f"{machine.name} sealed only {len(meanwhile)} batches during the outage")
        ordinals = {b.epoch for b in batches}
        expect(len(ordinals) == 1, f"{machine.name} opened a new epoch: {ordinals}")
    expect(all(before.values()), "no stream was known before the outage")

    # Settled is the word to delete, and it comes: what is left is what was sealed just now.
    poll("the agent deletes what is settled", lambda: waiting_after_restart(agent) <= 2,
         SETTLED_WITHIN_SECONDS, every=2)


main(test)
