#!/usr/bin/env python3
"""The archive holds what the agent signed, and it is OpenTelemetry: read with a decoder of our own,
checked with openssl, nothing of the product's code."""
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import archive  # noqa: E402
import otlp  # noqa: E402
from postern import expect, main, meminfo, os_name, value_of, wait_complete  # noqa: E402

# name: unit, kind, monotonic; by OpenTelemetry's semantic conventions for host metrics.
CONVENTIONS = {
    "system.cpu.time": ("s", "sum", True),
    "system.cpu.load_average.1m": ("{thread}", "gauge", False),
    "system.memory.usage": ("By", "sum", False),
    "system.memory.limit": ("By", "sum", False),
    "system.memory.utilization": ("1", "gauge", False),
    "system.network.io": ("By", "sum", True),
    "system.uptime": ("s", "gauge", False),
}
CUMULATIVE = 2


def test(group):
    group.make_server()
    group.start_server()
    gateway = group.add("gw1.dmz.example", "gateway", group.server)
    agent = group.add("a1.dmz.example", "agent", gateway)
    detail = wait_complete(group, agent, at_least=3)
    batches = archive.batches(group.server, detail["id"])
    archive.check_unbroken(batches)

    key = archive.identity_key(group.server, detail["id"])
    for batch in batches:
        expect(archive.verifies(key, "postern batch v1", batch.signed, batch.signature),
               f"openssl does not take the signature of {batch.stream} {batch.sequence}")
    forged = bytearray(batches[0].signed)
    forged[96] ^= 1
    expect(not archive.verifies(key, "postern batch v1", bytes(forged), batches[0].signature),
           "openssl takes a forged batch: this check is worth nothing")

    metrics_are_otlp(group, [b for b in batches if b.kind == archive.OTLP_METRICS], detail)
    entities_are_otlp([b for b in batches if b.kind == archive.OTLP_LOGS], agent)
    for batch in batches:
        ids = [node for node, _ in batch.stamps]
        expect(len(ids) == 2 and ids[0] == detail["id"] and ids[1] == group.show(gateway)["id"],
               f"the stamps say {ids}")


def metrics_are_otlp(group, batches, detail):
    expect(batches, "no metrics in the archive")
    batch = max(batches, key=lambda b: b.sequence)
    raw = otlp.decompressed(batch.payload)
    expect(len(raw) == batch.raw_bytes, f"{len(raw)} bytes, the header says {batch.raw_bytes}")
    (resource,) = otlp.metrics_request(raw)
    expect(resource["resource"].get("host.name") == detail["name"], f"resource {resource['resource']}")
    expect("service.name" in resource["resource"] or "host.id" in resource["resource"],
           f"resource {resource['resource']}")
    metrics, points = {}, 0
    for scope in resource["scopes"]:
        expect(scope["name"], "a scope without a name")
        for metric in scope["metrics"]:
            metrics[metric["name"]] = metric
            points += len(metric["points"])
    expect(points == batch.records, f"{points} points, the header says {batch.records} records")
    for name, (unit, kind, monotonic) in CONVENTIONS.items():
        metric = metrics.get(name)
        expect(metric, f"{name} is missing; there are {sorted(metrics)}")
        expect((metric["unit"], metric["kind"], metric["monotonic"]) == (unit, kind, monotonic),
               f"{name}: {metric['unit']} {metric['kind']} {metric['monotonic']}")
        if kind == "sum":
            expect(metric["temporality"] == CUMULATIVE, f"{name}: temporality {metric['temporality']}")
        for point in metric["points"]:
            expect(abs(time.time() - point["time"] / 1e9) < 120, f"{name}: measured at {point['time']}")
            expect(point["value"] is not None, f"{name}: a point without a value")
    states = {point["attributes"].get("system.memory.state")
              for point in metrics["system.memory.usage"]["points"]}
    expect({"used", "free"} <= states, f"states of memory: {states}")
    limit = metrics["system.memory.limit"]["points"][0]["value"]
    expect(limit == meminfo("MemTotal") == value_of(detail, "system.memory.limit")[0],
           f"memory: {limit}, /proc says {meminfo('MemTotal')}")


def entities_are_otlp(batches, agent):
    expect(batches, "no entity states in the archive")
    found = {}
    for batch in batches:
        raw = otlp.decompressed(batch.payload) if batch.zstd else batch.payload
        for resource in otlp.logs_request(raw):
            for scope in resource["scopes"]:
                for record in scope["records"]:
                    found[record["attributes"].get("otel.entity.type")] = record
    host = found.get("host")
    expect(host, f"no entity host; there are {sorted(map(str, found))}")
    attributes = host["attributes"]["otel.entity.attributes"]
    expect(host["event"] == "entity.state", f"event name {host['event']!r}")
    expect(attributes["host.name"] == agent.name and attributes["os.description"] == os_name(),
           f"{attributes}")


main(test)
