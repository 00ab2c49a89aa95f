#!/usr/bin/env python3
"""A batch is altered in a gateway's spool file, its checksum made to fit: the management server
refuses that copy, says of which stream, which number and by which way it came, and the true batch
arrives from behind the gateway."""
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import archive  # noqa: E402
import spool_file  # noqa: E402
from postern import expect, main, poll, wait_complete  # noqa: E402


def metric_records(gateway, node_id):
    """(segment, record) of an agent's metric batches in the gateway's spool."""
    return [(segment, record) for segment in sorted((gateway.state / "spool").glob("*.log"))
            for record in spool_file.records(segment)
            if record.kind == spool_file.BATCH and record.batch.node == node_id
            and record.batch.lane == "metric"]


def test(group):
    server, gw1, gw2, agent = group.chain()
    node_id = wait_complete(group, agent, at_least=2)["id"]
    server.kill()
    applied = len(metric_records(gw1, node_id))
    # So many lie in gw1 alone and in those behind it.
    poll("a backlog in the gateway", lambda: len(metric_records(gw1, node_id)) > applied + 4, 30)
    gw1.kill()
    segment, record = metric_records(gw1, node_id)[-2]
    true = record.batch
    spool_file.alter(segment, record)

    mark = server.mark()
    gw1.start()
    server.start()
    group.wait_answers()
    found = archive.wait_unbroken(group, agent, after=time.time(), seconds=120)
    arrived = next(batch for batch in found
                   if batch.stream == true.stream and batch.sequence == true.sequence)
    expect(arrived.hash == true.hash and arrived.payload == true.payload, "another batch arrived")
    expect(archive.verifies(archive.identity_key(server, node_id), "postern batch v1", arrived.signed,
                            arrived.signature), "its signature does not fit")
    stream = f"{node_id}/{true.epoch[0]}/metric"
    line = server.said("error", f"batch {true.sequence} of {stream}", mark=mark)
    path = " -> ".join((agent.name, gw2.name, gw1.name))
    expect(f"came by {path}" in line, f"no word of stream, sequence and path:\n{server.since(mark)}")
    print(line)
    expect(group.ask("loss", "list")["items"] == [], f"{group.ask('loss', 'list')['items']}")


main(test)
