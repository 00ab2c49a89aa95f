"""Judges a management server's store from outside: what is missing, what is there twice, what a gap
explains. It shares no code with the server; what ought to be there it takes from the numbers in the
store itself, from the chain of hashes, and from witnesses: batches seen in the spools of their
origins on what a disk still held after it had lost power.
"""
import collections
import contextlib
import dataclasses
import hashlib
import sqlite3

import archive
from postern import expect


def copy_of(store, to):
    """A consistent copy of a data base that is in use."""
    with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=20)) as source, \
            contextlib.closing(sqlite3.connect(to)) as target:
        source.backup(target)
    return to


@dataclasses.dataclass
class Stream:
    """What the store says about one stream."""
    sealed: int = 0
    applied: set = dataclasses.field(default_factory=set)
    archived: dict = dataclasses.field(default_factory=dict)  # sequence: batch
    gaps: list = dataclasses.field(default_factory=list)      # (first, last): gone
    given_up: list = dataclasses.field(default_factory=list)  # (first, last), by the origin's word


@dataclasses.dataclass
class Verdict:
    streams: dict
    missing: list   # (stream, sequence, why)
    doubled: list   # (stream, sequence, why)
    recalled: list  # (stream, sequence): given up by its origin, and it arrived nevertheless

    @property
    def applied(self):
        return sum(len(stream.applied) for stream in self.streams.values())

    @property
    def gaps(self):
        return [(key, *gap) for key, stream in self.streams.items() for gap in stream.gaps]

    @property
    def clean(self):
        return not (self.missing or self.doubled)


def read_streams(store):
    """{(node, epoch ordinal, epoch random, lane): Stream}."""
    found, names = collections.defaultdict(Stream), {}
    with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as database:
        for row, node, ordinal, rand, lane, sealed in database.execute(
                "SELECT id, node, epoch_ordinal, epoch_random, lane, sealed FROM stream"):
            key = names[row] = (node.hex(), ordinal, rand % (1 << 64), archive.LANES[lane])
            found[key].sealed = sealed
        for row, first, last in database.execute("SELECT stream, first, last FROM applied_range"):
            found[names[row]].applied.update(range(first, last + 1))
        for row, first, last in database.execute("SELECT stream, first, last FROM gap"):
            found[names[row]].given_up.append((first, last))
        for row, sequence, message in database.execute(
                "SELECT stream, sequence, message FROM archive ORDER BY stream, sequence"):
            batch = archive.parse(message)
            key = names[row]
            expect(batch.stream == key, f"the archive has {batch.stream} in {key}")
            found[key].archived[sequence] = batch
    for stream in found.values():
        stream.gaps = _runs({number for first, last in stream.given_up
                             for number in range(first, last + 1)} - stream.applied)
    return dict(found)


def _runs(numbers):
    """[(first, last)] of neighbours."""
    runs = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def judge(store, witnesses=()):
    """`witnesses`: {stream: {sequence: hash}}."""
    verdict = Verdict(read_streams(store), [], [], [])
    witnesses = dict(witnesses)
    for key in witnesses:
        verdict.streams.setdefault(key, Stream())
    content = collections.defaultdict(list)
    for key, stream in sorted(verdict.streams.items()):
        _judge_stream(key, stream, witnesses.get(key, {}), verdict)
        for sequence, batch in stream.archived.items():
            # The same observations under two numbers, perhaps of two epochs.
            content[(key[0], key[3], batch.kind, hashlib.sha256(batch.payload).digest(),
                     batch.first_ms, batch.last_ms)].append((key, sequence))
    for places in content.values():
        for key, sequence in places[1:]:
            verdict.doubled.append((key, sequence, f"says the same as {places[0]}"))
    return verdict


def _judge_stream(key, stream, witnessed, verdict):
    explained = {number for first, last in stream.gaps for number in range(first, last + 1)}
    top = max([stream.sealed, *stream.applied, *stream.archived, *witnessed, *explained])
    previous = (0, bytes(32))
    for number in range(1, top + 1):
        batch = stream.archived.get(number)
        if number not in stream.applied and number not in explained:
            verdict.missing.append((key, number, "neither applied nor explained"))
        elif number in stream.applied and batch is None:
            verdict.missing.append((key, number, "applied by its number, but not in the archive"))
        if batch is None:
            continue
        if number not in stream.applied:
            verdict.doubled.append((key, number, "in the archive, but not applied"))
        if batch.sequence != number:
            verdict.doubled.append((key, number, f"holds the batch {batch.sequence}"))
        if previous[0] == number - 1 and batch.predecessor != previous[1]:
            verdict.missing.append((key, number, "does not continue the batch before it"))
        if number in witnessed and witnessed[number] != batch.hash:
            verdict.missing.append((key, number, "is another batch than its origin had on disk"))
        previous = (number, batch.hash)
    for first, last in stream.given_up:
        verdict.recalled += [(key, number) for number in range(first, last + 1)
                             if number in stream.archived]
