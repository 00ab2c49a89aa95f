#!/usr/bin/env python3
"""A short run of `./dev e2e disasters`: everybody is killed and loses power at random, disks fail, fill
up and become read-only; then everything has arrived once. And the judge that says so notices a batch
that is gone from the store, one that is there twice, and a gap that is none."""
import contextlib
import os
import pathlib
import random
import shutil
import sqlite3
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import judge  # noqa: E402
from disasters import Disasters, LossyGroup  # noqa: E402
from lossy import need_mounts  # noqa: E402
from postern import expect, main  # noqa: E402

SECONDS, KILLS = 25, 30


def altered(store, to, *statements):
    """A copy of the store with something wrong in it."""
    shutil.copyfile(store, to)
    with contextlib.closing(sqlite3.connect(to)) as database:
        database.execute("PRAGMA foreign_keys=OFF")
        for statement in statements:
            changed = database.execute(statement).rowcount
            expect(changed == 1, f"{statement}: {changed} rows")
        database.commit()
    return to


def the_judge_notices(store, witnesses, folder):
    row = ("(SELECT max(a.id) FROM archive a JOIN stream s ON s.id = a.stream WHERE s.lane = 3 AND "
           "a.sequence < s.sealed)")
    gone = judge.judge(altered(store, folder / "gone", f"DELETE FROM archive WHERE id = {row}"),
                       witnesses)
    expect(len(gone.missing) == 1, f"one batch is gone, the judge says {gone.missing}")

    # The same again behind the end of its stream.
    twice = judge.judge(altered(
        store, folder / "twice", "INSERT INTO archive (stream, sequence, hash, arrived, message) "
        "SELECT stream, (SELECT max(sequence) + 1 FROM archive b WHERE b.stream = archive.stream), "
        f"hash, arrived, message FROM archive WHERE id = {row}"), witnesses)
    expect(twice.doubled, "a batch is there twice, and the judge does not see it")

    short = judge.judge(altered(
        store, folder / "short", "UPDATE applied_range SET last = last - 1 WHERE (stream, first) = "
        "(SELECT stream, first FROM applied_range ORDER BY last DESC LIMIT 1)"), witnesses)
    expect(short.missing and short.doubled, "an effect without its number, and the judge sees nothing")

    gap = judge.judge(altered(
        store, folder / "gap", "INSERT INTO gap SELECT id, 1, 1, 1, 1, 1, x'', x'', 0, 0, 1, 1, "
        + gap_rest(store) + " FROM stream ORDER BY id LIMIT 1"), witnesses)
    expect(gap.recalled and not gap.gaps,
           "a gap names a batch that arrived: it is not gone, and the judge must see that")

    foreign = {key: dict(found) for key, found in witnesses.items()}
    key = next(iter(foreign))
    foreign[key][max(foreign[key]) + 1000] = bytes(32)
    expect(judge.judge(store, foreign).missing, "what an origin had is not there, and is not missed")


def gap_rest(store):
    """Zeros for the columns behind the first twelve, however many there are."""
    with contextlib.closing(sqlite3.connect(store)) as database:
        columns = len(database.execute("PRAGMA table_info(gap)").fetchall())
    return ", ".join(["0"] * (columns - 12))


def test(group):
    need_mounts()
    seed = int(os.environ.get("POSTERN_SEED") or random.SystemRandom().getrandbits(32))
    print(f"POSTERN_SEED={seed}")
    group.two_gateways_ten_agents()
    run = Disasters(group, seed)
    run.run(SECONDS, KILLS)
    run.repair()
    verdict = run.settle(90)
    run.report(verdict)
    expect(run.fine, "not everything arrived once, see above")
    expect(run.witnesses, "no batch was seen on a disk: nothing is proved")
    the_judge_notices(group.folder / "judged.sqlite", run.witnesses, group.folder)


main(test, lambda folder: LossyGroup(folder, small=("gw2.site.example",)))
