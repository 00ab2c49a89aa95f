#!/usr/bin/env python3
"""`postern trace` shows the way of a probe hop by hop; where nothing is lost, the ledger says so."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from postern import expect, expect_in, main, wait_complete  # noqa: E402


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


main(test)
