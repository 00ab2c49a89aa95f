#!/usr/bin/env python3
"""Certificates that live for seconds, in a chain of two gateways: every node renews its own over the
open channel under load, none is dropped, nothing is lost or doubled; what an administrator imports is used
at once."""
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import rogue  # noqa: E402
from postern import IMPORT_TOOL, expect, main, poll, wait_complete  # noqa: E402
from writer import Writer, each_line_once  # noqa: E402

LIFETIME_SECONDS = int(os.environ.get("POSTERN_LIFETIME_SECONDS", "20"))
SECONDS = float(os.environ.get("POSTERN_MINUTES", "3")) * 60
RENEWALS_MIN = int(SECONDS / LIFETIME_SECONDS)  # one each at half of the life, and some time lost
USED = "is used from now on"
DROPPED = ("lost the parent", "is gone: ", "refuses", "refused ", "no parent: ")


def drops(machine, mark):
    return [line for words in DROPPED if (line := machine.said(words, mark=mark))]


def renewals(machine):
    return machine.text().count(USED)


def an_import_is_used_at_once(group, agent, gateway):
    """By the seed's tool, while the node runs."""
    marks = {machine: machine.mark() for machine in (agent, gateway)}
    authority = rogue.group_authority(group.server, group.folder / "our-ca")
    key, chain = authority.issue(agent.name, group.folder / "by-hand")
    agent.certificates.mkdir(exist_ok=True)
    for old in agent.certificates.glob("*"):
        old.unlink()
    (agent.certificates / "by-hand.key").write_bytes(pathlib.Path(key).read_bytes())
    (agent.certificates / "by-hand.key").chmod(0o600)
    (agent.certificates / "by-hand.pem").write_bytes(pathlib.Path(chain).read_bytes())
    begun = time.monotonic()
    agent.run(IMPORT_TOOL, "/SubjectName", agent.name, "--state", agent.state)
    agent.wait_said(USED, mark=marks[agent])
    took = time.monotonic() - begun
    gateway.wait_said(f"{agent.name} shows a renewed certificate", mark=marks[gateway])
    for machine, mark in marks.items():
        expect(not drops(machine, mark), f"{machine.name} dropped a channel: {drops(machine, mark)}")
    print(f"an import was in use {took:.1f} s after the command began")


def test(group):
    server = group.make_server()
    server.set("certificates", f"{{lifetime: {LIFETIME_SECONDS}s, expiry_grace: 0s}}")
    group.start_server()
    gw1 = group.add("gw1.dmz.example", "gateway", server)
    gw2 = group.add("gw2.site.example", "gateway", gw1)
    agents = [group.add(f"a{n}.site.example", "agent", gw2 if n % 2 else gw1, start=n > 2)
              for n in range(1, 8)]
    writers = [Writer.of(agent) for agent in agents[:2]]  # one behind each gateway
    machines = [gw1, gw2, *agents]
    for machine in machines:
        machine.wait_said("attached to", seconds=20)
    marks = {machine: machine.mark() for machine in (server, *machines)}
    before = {machine: renewals(machine) for machine in machines}
    seen = {machine: set() for machine in machines}
    states = set()
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        time.sleep(2)
        for item in group.ask_api("/api/v1/certificates")["items"]:
            states.add(item["renewal"])
            for machine in machines:
                if machine.name == item["node"]:
                    seen[machine].add(item["not_after"])
    for agent, writer in zip(agents, writers):
        writer.end()
        each_line_once(group, agent, writer)
    for machine in (server, *machines):
        expect(not drops(machine, marks[machine]),
               f"{machine.name} dropped a channel: {drops(machine, marks[machine])}")
    counts = {machine.name: renewals(machine) - before[machine] for machine in machines}
    expect(min(counts.values()) >= RENEWALS_MIN, f"renewed too seldom: {counts}")
    for machine in machines:
        expect(len(seen[machine]) >= RENEWALS_MIN, f"{machine.name}: the server saw {seen[machine]}")
        detail = wait_complete(group, machine)
        expect(detail["connected"], f"{machine.name} is not connected")
    expect(states <= {"by-itself", "due", "unknown"} and {"by-itself", "due"} <= states,
           f"the renewals that cert list shows: {states}")
    shown = next(item for item in group.ask_api("/api/v1/certificates")["items"]
                 if item["node"] == gw2.name)
    expect(shown["issuer"].startswith(f"CN={group.name} Postern CA ") and shown["key"] == "EC P-256",
           f"{shown}")
    audited = [entry for entry in group.ask_api("/api/v1/audit?limit=1000")["items"]
               if entry["what"] == "certificate renewed"]
    expect(len(audited) >= sum(counts.values()), f"{len(audited)} renewals are in the audit list")
    print(f"{sum(counts.values())} renewals of {len(machines)} nodes in {SECONDS:.0f} s, no channel dropped")

    # Who starts anew has the newest certificate: it is on disk before it is shown.
    for machine in (gw2, agents[0]):
        mark = machine.mark()
        machine.kill()
        machine.start()
        machine.wait_said("attached to", mark=mark, seconds=20)
    an_import_is_used_at_once(group, agents[1], gw1)

    # Who is away when it is time is forecast to miss it; its parent, which was never away, says so.
    agents[5].kill()
    poll("cert list forecasts it", lambda: f"{agents[5].name} will miss its renewal: it is not connected"
         in group.postern("cert", "list").out, LIFETIME_SECONDS + 5, every=0.5)


main(test)
