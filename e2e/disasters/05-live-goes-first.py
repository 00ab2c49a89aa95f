#!/usr/bin/env python3
"""After an outage what happens now goes first (rule D8): while the backlog of an hour drains over a slow
link, a state change produced now is applied at the server in under 2 s, again and again."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import spool_file  # noqa: E402
from disasters import LossyGroup  # noqa: E402
from lossy import need_mounts  # noqa: E402
from postern import expect, main, poll  # noqa: E402
from slow_link import SlowLink  # noqa: E402

AGENTS_BEHIND_EACH = 5
# Each seals one a second here, one a minute by default: the hour of five agents.
BACKLOG_BATCHES = 300
STATE_SECONDS_MAX = 2.0
LINK_BYTES_PER_SECOND = 96 << 10


def numbers(agent):
    """The metric batches on the agent's own disk; what is settled stays for a while."""
    return {number for key, found in spool_file.batches(agent.state / "spool").items()
            if key[3] == "metric" for number in found}


def behind(group, agents):
    """Metric batches that are sealed and not applied: the server has not heard of all of them."""
    count = 0
    for agent in agents:
        applied = {number for stream in group.show(agent)["streams"] if stream["lane"] == "metric"
                   for first, last in stream["applied"] for number in range(first, last + 1)}
        count += len(numbers(agent) - applied)
    return count


def test(group):
    need_mounts()
    server, _, _ = group.two_gateways_ten_agents(AGENTS_BEHIND_EACH, lambda server: SlowLink(
        server.address, (server.address, server.port), LINK_BYTES_PER_SECOND))
    agents = [machine for machine in group.machines if machine.role == "agent"]
    server.kill()
    poll("the backlog",
         lambda: sum(len(numbers(agent)) for agent in agents) >= BACKLOG_BATCHES, 150, every=1.0)
    server.start()
    group.wait_answers()

    agent = agents[-1]  # behind both gateways
    poll("the way to the agent is known again", lambda: group.show(agent)["connected"], 60)

    probes = []

    def probe():
        trace = group.ask("trace", agent.name, "--timeout", "20s")  # its probe is in the state lane
        expect(trace["state"] == "arrived", f"{trace}")
        took = trace["total_ms"] / 1000  # from sealing at the agent; the server applied it since
        left = behind(group, agents)
        probes.append((left, took))
        return left < 2 * len(agents)
    poll("the backlog has drained", probe, 120)
    drained = [(left, took) for left, took in probes if left > BACKLOG_BATCHES / 10]
    print("batches behind, seconds of a state batch from its sealing: "
          + ", ".join(f"{left} {took:.2f}" for left, took in probes))
    expect(drained, "the backlog was gone before anything could be measured")
    slow = [took for _, took in drained if took > STATE_SECONDS_MAX]
    expect(not slow, f"a state change took {max(slow, default=0):.1f} s")


main(test, LossyGroup)
