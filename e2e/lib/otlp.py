"""An independent reader of OTLP: protobuf's wire format by its public description, and the field
numbers of OpenTelemetry's protocol. Shares nothing with the product."""
import struct
import subprocess

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Malformed(Exception):
    pass


def varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed(f"a varint breaks off at {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data):
    """[(number, wire type, raw value)] of one message."""
    found, at = [], 0
    while at < len(data):
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise Malformed("field 0")
        if kind == VARINT:
            value, at = varint(data, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
            value, at = data[at:at + size], at + size
        elif kind == BYTES:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            raise Malformed(f"wire type {kind}")
        if at > len(data):
            raise Malformed("a field goes beyond its message")
        found.append((number, kind, value))
    return found


def every(data, number, kind=BYTES):
    return [value for n, k, value in fields(data) if n == number and k == kind]


def first(data, number, kind=BYTES, default=None):
    return next(iter(every(data, number, kind)), default)


def text(data, number):
    return first(data, number, default=b"").decode("utf-8", errors="strict")


def signed(value):
    return value - (1 << 64) if value >> 63 else value


def any_value(data):
    """AnyValue as a Python value."""
    for number, _, value in fields(data):
        if number == 1:
            return value.decode("utf-8")
        if number == 2:
            return bool(value)
        if number == 3:
            return signed(value)
        if number == 4:
            return struct.unpack("<d", value)[0]
        if number == 5:
            return [any_value(item) for item in every(value, 1)]
        if number == 6:
            return attributes(value, 1)
        if number == 7:
            return value
    return None


def attributes(data, number):
    """The repeated KeyValue `number` of a message as a dict."""
    return {text(pair, 1): any_value(first(pair, 2, default=b"")) for pair in every(data, number)}


def points(metric):
    """(kind, [point]) of a Metric; kind is gauge, sum (monotonic or not) with its temporality."""
    for field, kind in ((5, "gauge"), (7, "sum")):
        body = first(metric, field)
        if body is None:
            continue
        found = []
        for point in every(body, 1):
            real, integer = first(point, 4, FIXED64), first(point, 6, FIXED64)
            found.append({
                "attributes": attributes(point, 7),
                "start": struct.unpack("<Q", first(point, 2, FIXED64, bytes(8)))[0],
                "time": struct.unpack("<Q", first(point, 3, FIXED64, bytes(8)))[0],
                "value": struct.unpack("<d", real)[0] if real is not None else
                         struct.unpack("<q", integer)[0] if integer is not None else None})
        return {"kind": kind, "temporality": first(body, 2, VARINT, 0),
                "monotonic": bool(first(body, 3, VARINT, 0)), "points": found}
    raise Malformed(f"metric {text(metric, 1)} has neither gauge nor sum")


def metrics_request(data):
    """ExportMetricsServiceRequest."""
    return [{"resource": attributes(first(resource, 1, default=b""), 1),
             "scopes": [{"name": text(first(scope, 1, default=b""), 1),
                         "version": text(first(scope, 1, default=b""), 2),
                         "metrics": [{"name": text(metric, 1), "description": text(metric, 2),
                                      "unit": text(metric, 3), **points(metric)}
                                     for metric in every(scope, 2)]}
                        for scope in every(resource, 2)]}
            for resource in every(data, 1)]


def logs_request(data):
    """ExportLogsServiceRequest."""
    return [{"resource": attributes(first(resource, 1, default=b""), 1),
             "scopes": [{"name": text(first(scope, 1, default=b""), 1),
                         "records": [{"time": struct.unpack("<Q", first(record, 1, FIXED64, bytes(8)))[0],
                                      "event": text(record, 12), "attributes": attributes(record, 6)}
                                     for record in every(scope, 2)]}
                        for scope in every(resource, 2)]}
            for resource in every(data, 1)]


def decompressed(payload):
    return subprocess.run(["zstd", "-d", "-c", "-q"], input=payload, stdout=subprocess.PIPE,
                          check=True).stdout


# ---- writing, for tests that speak for themselves ------------------------------------------------

def put_varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(*written):
    """(number, int | bytes | str | ("fixed64", int)) pairs, in order."""
    out = b""
    for number, value in written:
        if isinstance(value, tuple):
            out += put_varint(number << 3 | FIXED64) + struct.pack("<Q", value[1])
        elif isinstance(value, int):
            out += put_varint(number << 3 | VARINT) + put_varint(value)
        else:
            body = value.encode() if isinstance(value, str) else value
            out += put_varint(number << 3 | BYTES) + put_varint(len(body)) + body
    return out
