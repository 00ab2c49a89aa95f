#!/usr/bin/env python3
"""Agent, gateways and management server are killed (kill -9) again and again, at random moments and
several at a time: each starts again without help, and every batch is applied once."""
import os
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import archive  # noqa: E402
from postern import expect, main, wait_complete  # noqa: E402

SECONDS = 20
DOWN_SECONDS_MAX = 2.0
UP_SECONDS_MAX = 2.5


def test(group):
    seed = int(os.environ.get("POSTERN_SEED") or random.SystemRandom().getrandbits(32))
    print(f"POSTERN_SEED={seed}")
    chance = random.Random(seed)
    server, gw1, gw2, agent = group.chain()
    other = group.add("a1.dmz.example", "agent", gw1)
    machines = [server, gw1, gw2, agent, other]
    wait_complete(group, agent)

    kills = {machine.name: 0 for machine in machines}
    due = {machine.name: chance.uniform(0, UP_SECONDS_MAX) for machine in machines}
    started = time.monotonic()
    while (now := time.monotonic() - started) < SECONDS:
        for machine in machines:
            if now < due[machine.name]:
                continue
            if machine.running:
                machine.kill()
                kills[machine.name] += 1
                due[machine.name] = now + chance.uniform(0, DOWN_SECONDS_MAX)
            else:
                machine.start()
                due[machine.name] = now + chance.uniform(0.3, UP_SECONDS_MAX)
        time.sleep(0.02)
    for machine in machines:
        if not machine.running:
            machine.start()
        expect(machine.running, machine.tail())
    print(f"killed: {kills}")
    healed = time.time()
    group.wait_answers()

    for machine in (agent, other, gw1, gw2):
        batches = archive.wait_unbroken(group, machine, after=healed)
        epochs = {batch.epoch for batch in batches}
        expect(len(epochs) == 1, f"{machine.name} opened new epochs: {sorted(epochs)}")
        print(f"{machine.name}: {len(batches)} batches, each applied once")
    for machine in machines:
        expect(machine.running, f"{machine.name} has ended:\n{machine.tail()}")
        for words in (" error ", "invariant", "corrupt", "quarantine"):
            expect(not machine.said(words), f"{machine.name}: {machine.said(words)}")


main(test)
