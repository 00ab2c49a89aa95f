"""Spool segments as docs/formats/spool.md draws them, read and altered from outside."""
import collections
import dataclasses
import struct

import archive

SEGMENT_HEADER_BYTES, RECORD_BYTES = 148, 86
CONTENT_BYTES_MAX = (1 << 20) + 4096
BATCH, SETTLED = 1, 2


def _crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


@dataclasses.dataclass
class Record:
    offset: int
    kind: int
    sequence: int
    hash: bytes
    content: bytes

    @property
    def batch(self):
        return archive.parse(self.content)


def records(segment):
    """The records of a segment up to the first thing that is none; checksums are not looked at."""
    data = segment.read_bytes()
    if len(data) < SEGMENT_HEADER_BYTES or data[:4] != b"PSTL":
        return
    at = SEGMENT_HEADER_BYTES
    while at + RECORD_BYTES <= len(data):
        _, length, kind = struct.unpack_from("<IIB", data, at)
        end = at + RECORD_BYTES + length
        if kind not in (BATCH, SETTLED) or length > CONTENT_BYTES_MAX or end > len(data):
            return
        sequence, digest = struct.unpack_from("<Q32s", data, at + 46)
        yield Record(at, kind, sequence, digest, data[at + RECORD_BYTES:end])
        at = end


def batches(spool):
    """{stream: {sequence: hash}} of the whole batches in a spool, each segment up to the first record
    that does not hold: what stands there survives the next start."""
    found = collections.defaultdict(dict)
    for segment in sorted(spool.glob("*.log")):
        for record in records(segment):
            if record.kind != BATCH:
                continue
            try:
                batch = record.batch
            except Exception:  # torn
                break
            if batch.hash != record.hash or batch.sequence != record.sequence:
                break
            found[batch.stream][record.sequence] = record.hash
    return found


def alter(segment, record):
    """Flips a bit in the last byte of a record's batch, and makes its checksum fit."""
    data = bytearray(segment.read_bytes())
    end = record.offset + RECORD_BYTES + len(record.content)
    data[end - 1] ^= 1
    number = data[8:16]
    fitting = crc32c(number + struct.pack("<Q", record.offset) + data[record.offset + 4:end])
    struct.pack_into("<I", data, record.offset, fitting)
    segment.write_bytes(data)
