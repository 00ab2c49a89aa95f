#!/usr/bin/env python3
"""`postern trace` shows the way of a probe hop by hop; what is lost stands in `postern loss list`."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from postern import expect, expect_in, main, poll, wait_complete  # noqa: E402


def test(group):
    server, gw1, gw2, agent = group.chain()
    wait_complete(group, agent, at_least=3)

    trace = group.ask("trace", agent.name)
    expect(trace["state"] == "arrived", f"{trace}")
    hops = [hop["name"] for hop in trace["hops"]]
    expect(hops == [gw2.name, gw1.name, server.name], f"the probe came by {hops}")
    expect(all(hop["wait_ms"] < 5000 for hop in trace["hops"]), f"waits: {trace['hops']}")
    said = group.postern("trace", gw1.name, "--timeout", "20s").text
    expect_in(server.name, said, "the trace of gw1")
    refused = group.postern("trace", "nobody.example", status=1).text
    expect_in("nobody.example", refused, "the trace of a stranger")

    expect(group.ask("loss", "list")["items"] == [], "a loss where nothing was lost")
    expect(group.ask("alert", "list")["items"] == [], "an alert where nothing is wrong")

    # What a removed node still had under way is refused for good: an entry, no effect (rule D11).
    gw1.stop()

    def spooled():
        return sum(file.stat().st_size for file in (gw2.state / "spool").glob("*.log"))
    poll("gw2 has lost its parent", lambda: "lost the parent" in gw2.text())
    before = spooled()
    poll("gw2 takes more from the agent", lambda: spooled() > before + 2000)
    group.postern("agent", "remove", agent.name)
    agent.stop()
    gw1.start()

    def refused_items():
        items = group.ask("loss", "list")["items"]
        return [item for item in items if item["kind"] == "refused"] or None
    items = poll("what was refused stands in the ledger", refused_items, 40)
    for item in items:
        expect(item["node"] == agent.name and item["last"] >= item["first"] > 0, f"{item}")
        expect_in("was removed", item["reason"], "the reason")
    print(f"{len(items)} lines, the first: {items[0]}")
    table = group.postern("loss", "list").text
    expect_in(agent.name, table, "the table")


main(test)
