"""Reads the management server's archive from outside: SQLite by Python's own library, batches by
docs/formats/batch.md, signatures by the openssl command line."""
import dataclasses
import hashlib
import pathlib
import sqlite3
import struct
import subprocess
import tempfile

from postern import expect, poll, wait_complete

HEADER_BYTES, SIGNED_BYTES, STAMP_BYTES = 216, 152, 24
LANES = {1: "state", 2: "event", 3: "metric"}
OTLP_METRICS, OTLP_LOGS, GAP, EPOCH_OPENING = 1, 2, 3, 4


@dataclasses.dataclass
class Batch:
    stamps: list      # (node id in hex, wall ms) a hop, the origin's first
    lane: str
    kind: int
    zstd: bool
    node: str         # node id in hex
    epoch: tuple      # (ordinal, random)
    sequence: int
    predecessor: bytes
    first_ms: int
    last_ms: int
    sealed_ms: int
    records: int
    raw_bytes: int
    signed: bytes
    signature: bytes
    payload: bytes

    @property
    def stream(self):
        return (self.node, *self.epoch, self.lane)

    @property
    def hash(self):
        return hashlib.sha256(self.signed).digest()


def parse(message):
    """batch.md#B16: stamps, then the batch."""
    count = message[0]
    stamps = [(message[at:at + 16].hex(), struct.unpack_from("<q", message, at + 16)[0])
              for at in range(1, 1 + count * STAMP_BYTES, STAMP_BYTES)]
    batch = message[1 + count * STAMP_BYTES:]
    expect(batch[:4] == b"PSTB", f"a batch begins with {batch[:4]!r}")
    (version, lane, kind, compression, node, ordinal, flags, rand, sequence, predecessor, first_ms,
     last_ms, sealed_ms, records, sent, raw, reserved, digest, signature) = struct.unpack_from(
        "<BBBB16sIIQQ32sqqqIIII32s64s", batch, 4)
    payload = batch[HEADER_BYTES:]
    expect(version == 1 and flags == 0 and reserved == 0, "version, flags or reserved bytes")
    expect(len(payload) == sent, f"{len(payload)} bytes of payload, the header says {sent}")
    expect(hashlib.sha256(payload).digest() == digest, "the payload's hash is not the header's")
    return Batch(stamps, LANES[lane], kind, compression == 1, node.hex(), (ordinal, rand), sequence,
                 predecessor, first_ms, last_ms, sealed_ms, records, raw, batch[:SIGNED_BYTES],
                 signature, payload)


def batches(server, node_id):
    """All archived batches of a node; the server runs meanwhile."""
    database = sqlite3.connect(f"file:{server.state}/store.sqlite?mode=ro", uri=True, timeout=10)
    try:
        rows = database.execute(
            "SELECT archive.message FROM archive JOIN stream ON stream.id = archive.stream "
            "WHERE stream.node = ?", (bytes.fromhex(node_id),)).fetchall()
    finally:
        database.close()
    return [parse(row[0]) for row in rows]


def identity_key(server, node_id):
    """SubjectPublicKeyInfo, DER."""
    database = sqlite3.connect(f"file:{server.state}/store.sqlite?mode=ro", uri=True, timeout=10)
    try:
        return database.execute("SELECT identity_key FROM node WHERE id = ? AND standing = 1",
                                (bytes.fromhex(node_id),)).fetchone()[0]
    finally:
        database.close()


def der_signature(raw):
    def integer(part):
        body = part.lstrip(b"\0") or b"\0"
        body = b"\0" + body if body[0] & 0x80 else body
        return b"\x02" + bytes([len(body)]) + body
    both = integer(raw[:32]) + integer(raw[32:])
    return b"\x30" + bytes([len(both)]) + both


def verifies(key_der, context, signed, signature):
    """ECDSA P-256 over (context, bytes), by openssl."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "key").write_bytes(key_der)
        (folder / "signature").write_bytes(der_signature(signature))
        (folder / "bytes").write_bytes(context.encode() + b"\0" + signed)
        return subprocess.run(["openssl", "dgst", "-sha256", "-keyform", "DER", "-verify",
                               folder / "key", "-signature", folder / "signature", folder / "bytes"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              check=False).returncode == 0


def by_stream(found):
    streams = {}
    for batch in sorted(found, key=lambda b: b.sequence):
        streams.setdefault(batch.stream, []).append(batch)
    return streams


def check_unbroken(found):
    """Every stream is 1, 2, 3 ... once each, and each batch names its predecessor's hash."""
    expect(found, "the archive has nothing of this node")
    for stream, chain in by_stream(found).items():
        numbers = [batch.sequence for batch in chain]
        expect(numbers == list(range(1, len(chain) + 1)), f"{stream} has the numbers {numbers}")
        previous = bytes(32)
        for batch in chain:
            expect(batch.predecessor == previous,
                   f"{stream} {batch.sequence} does not continue {batch.sequence - 1}")
            previous = batch.hash


def wait_unbroken(group, machine, after, seconds=45):
    """The server says that all is applied, the archive holds exactly that, and something of it was
    measured later than `after` (Unix seconds): as a stream has no holes, all that was sealed before
    is there too, also what the server may never have heard of. Returns the batches."""
    def probe():
        detail = wait_complete(group, machine, seconds=seconds)
        found = batches(group.server, detail["id"])
        check_unbroken(found)
        newest = max((b.sealed_ms for b in found if b.lane == "metric"), default=0)
        expect(newest > after * 1000, f"the newest batch is {after - newest / 1000:.1f} s too old")
        by_epoch = {(s["lane"], s["epoch"]["ordinal"], int(s["epoch"]["random"], 16)): s["sealed"]
                    for s in detail["streams"]}
        for (_, ordinal, rand, lane), chain in by_stream(found).items():
            # The archive was read a moment later.
            expect(chain[-1].sequence >= by_epoch.get((lane, ordinal, rand), 0),
                   f"{lane}: the archive ends at {chain[-1].sequence}")
        return found
    return poll(f"the archive of {machine.name} is whole", probe, seconds)
