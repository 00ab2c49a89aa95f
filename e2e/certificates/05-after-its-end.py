#!/usr/bin/env python3
"""A machine was off until its certificate had ended: it gets the next one by itself, two gateways away,
within the time that the server allows; after that, when an administrator says so."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from postern import expect, expect_in, main, poll, run, wait_complete  # noqa: E402

LIFETIME_SECONDS = 12


def left_behind(group, machine):
    """Stopped until its certificate is over."""
    machine.stop()

    def over():
        return run(["openssl", "x509", "-in", machine.state / "tls/chain.pem", "-noout", "-checkend",
                    "0"], status=None).status == 1
    poll(f"the certificate of {machine.name} has ended", over, 3 * LIFETIME_SECONDS, every=0.5)


def test(group):
    server = group.make_server()
    server.set("certificates", f"{{lifetime: {LIFETIME_SECONDS}s, expiry_grace: 0s}}")
    group.start_server()
    gw1 = group.add("gw1.dmz.example", "gateway", server)
    gw2 = group.add("gw2.site.example", "gateway", gw1)
    agent = group.add("a1.site.example", "agent", gw2)
    other = group.add("a2.site.example", "agent", gw2)
    for machine in (agent, other):
        machine.wait_said("attached to", seconds=20)
        wait_complete(group, machine)

    left_behind(group, agent)
    mark, gateway = agent.mark(), gw2.mark()
    agent.start()
    agent.wait_said("is used from now on", mark=mark, seconds=20)
    agent.wait_said("attached to", mark=mark, seconds=20)
    expect(not gw2.said("a2.site.example", "is gone", mark=gateway), "its neighbour was disturbed")
    wait_complete(group, agent)

    # Nobody comes back by himself when the policy says so; then an administrator lets it.
    server.set("certificates",
               f"{{lifetime: {LIFETIME_SECONDS}s, expiry_grace: 0s, renew_expired: 0s}}")
    server.daemon.signal(1)
    server.wait_said("reload", seconds=10)
    left_behind(group, agent)
    mark = agent.mark()
    agent.start()
    said = agent.wait_said("not renewed", "postern cert renew a1.site.example", mark=mark, seconds=20)
    expect_in("renew_expired", said, "what the agent says")
    allowed = group.postern("cert", "renew", "a1.site.example").out
    expect_in("may renew its certificate until", allowed, "postern cert renew")
    agent.wait_said("is used from now on", mark=mark, seconds=30)
    agent.wait_said("attached to", mark=mark, seconds=20)
    wait_complete(group, agent)
    wait_complete(group, other)


main(test)
