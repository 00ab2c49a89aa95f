#!/usr/bin/env python3
"""A short run of `./dev e2e day`: simulated and real agents while everything is restarted; every batch
arrives once, and the alerts at the end are those that should be. The judge of the alerts notices one
too many and one too few; that of the batches is held against defects by e2e/disasters/02."""
import os
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from day import Day, judge_alerts  # noqa: E402
from postern import expect, main  # noqa: E402

SIMULATED, SECONDS, EVERY = 40, 18, 1.5


def the_judge_of_alerts_notices():
    expect(judge_alerts(["a"], ["a"]) == ([], []), "what must be open is open")
    expect(judge_alerts(["a"], []) == (["a"], []), "one that must be is not there")
    expect(judge_alerts(["a"], ["a", "b"]) == ([], ["b"]), "one that nobody caused is there")


def test(group):
    the_judge_of_alerts_notices()
    seed = int(os.environ.get("POSTERN_SEED") or random.SystemRandom().getrandbits(32))
    print(f"POSTERN_SEED={seed}")
    day = Day(group, seed)
    day.begin(SIMULATED, "1s")
    day.run(SECONDS, EVERY)
    day.evening()
    day.report()
    expect(day.fine, "not everything is as it should be, see above")
    expect(day.witnesses, "no batch was seen on a disk: nothing is proved")


main(test)
