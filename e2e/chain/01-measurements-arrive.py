#!/usr/bin/env python3
"""What an agent measures arrives at the management server over two gateways, whole and true."""
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from postern import (check_measurements, expect, main, own_addresses, poll, to_seconds,  # noqa: E402
                     wait_complete)

INTERVAL = 1


def inventory_is_real(group, machines):
    nodes = {node["name"]: node for node in group.ask("inventory")["items"]}
    expect(set(nodes) == {machine.name for machine in machines}, f"the inventory has {sorted(nodes)}")
    for machine in machines:
        node = nodes[machine.name]
        expect(node["role"] == machine.role and node["standing"] == "approved", f"{node}")
        expect(node["connected"], f"{machine.name} is {node['connection']}")
        age = time.time() - to_seconds(node["last_seen"])
        expect(-1 < age < 10, f"{machine.name} was seen {age:.1f} s ago")
    return True


def test(group):
    server, gw1, gw2, agent = group.chain()
    group.server.run("postern-server", "check-config", "--config", server.config)
    addresses = own_addresses()

    for machine in (gw1, gw2, agent):
        def probe(machine=machine):
            detail = wait_complete(group, machine, at_least=3)
            check_measurements(detail, addresses, INTERVAL)
            return detail
        detail = poll(f"the measurements of {machine.name}", probe, 30)
        expect(len(detail["id"]) == 32, f"node id {detail['id']!r}")
        expect({s["lane"] for s in detail["streams"]} >= {"state", "metric"}, f"{detail['streams']}")
        print(f"{machine.name}: {len(detail['values'])} values, {detail['streams']}")

    path = group.show(agent)["path"]
    expect(path == [gw2.name, gw1.name, server.name], f"the agent's path is {path}")
    expect(group.show(gw2)["path"] == [gw1.name, server.name], "the path of gw2")
    poll("the inventory is real", lambda: inventory_is_real(group, [server, gw1, gw2, agent]))

    tree = {node["name"]: node for node in group.ask("topology")["items"]}
    for child, parent in ((gw1, server), (gw2, gw1), (agent, gw2)):
        expect(tree[child.name]["parent"] == parent.name, f"topology: {tree[child.name]}")
        expect(tree[child.name]["lag_ms"] is not None and tree[child.name]["lag_ms"] < 5000,
               f"lag of {child.name}: {tree[child.name]}")
        expect(tree[child.name]["certificate_not_after"], f"no certificate of {child.name}")

    # They are measured anew at every interval, not once.
    before = group.show(agent)
    newer = {value["metric"] for value in before["values"]}
    expect(len(newer) > 15, f"only {sorted(newer)}")
    sealed = sum(s["sealed"] for s in before["streams"] if s["lane"] == "metric")
    wait_complete(group, agent, at_least=sealed + 3, seconds=10)


main(test)
