#!/usr/bin/env python3
"""The CA of a running group of 20 nodes is rolled over, through a chain of two gateways and under
load: no channel is dropped, the progress is shown, and who was away all the time comes back."""
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from postern import Failure, expect, expect_in, main, poll, run, wait_complete  # noqa: E402
from writer import Writer, each_line_once  # noqa: E402

AGENTS = 16  # with server, two gateways and the one that is away: 20
STEP_SECONDS_MAX = 60
DROPPED = ("lost the parent", "is gone: ", "refuses", "refused ", "no parent: ")


def authority(group):
    return group.ask_api("/api/v1/authority")


def waiting(group):
    return {node["name"]: node["reason"] for node in authority(group)["waiting"]}


def wait_only(group, names, what):
    begun = time.monotonic()
    poll(what, lambda: set(waiting(group)) == set(names), STEP_SECONDS_MAX, every=0.2)
    print(f"{what}: {time.monotonic() - begun:.1f} s")


def roots(path):
    """Common names of the certificates in a PEM file."""
    found = re.findall("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", path.read_text(), re.S)
    names = [run(["openssl", "x509", "-noout", "-subject", "-nameopt", "multiline"], data=one.encode()).out
             for one in found]
    return sorted(re.search("commonName *= (.*)", name)[1] for name in names)


def leads_to(machine, root):
    return run(["openssl", "verify", "-CAfile", root, "-untrusted", machine.state / "tls/chain.pem",
                machine.state / "tls/chain.pem"], status=None).status == 0


def not_dropped(machines, marks):
    for machine in machines:
        said = [machine.said(words, mark=marks[machine]) for words in DROPPED]
        expect(not any(said), f"{machine.name} dropped a channel: {said}")


def test(group):
    server = group.make_server()
    group.start_server()
    gw1 = group.add("gw1.dmz.example", "gateway", server)
    gw2 = group.add("gw2.site.example", "gateway", gw1)
    agents = [group.add(f"a{n}.site.example", "agent", gw2 if n % 2 else gw1, start=n > 2)
              for n in range(1, AGENTS + 1)]
    away = group.add("away.site.example", "agent", gw2)
    writers = [Writer.of(agent) for agent in agents[:2]]  # one behind each gateway
    nodes = [gw1, gw2, *agents, away]
    for node in nodes:
        node.wait_said("attached to", seconds=40)
        wait_complete(group, node)
    away.kill()
    nodes.remove(away)
    old, new = f"{group.name} Postern CA", f"{group.name} Postern CA G2"
    old_root = server.folder / "old-root.pem"
    old_root.write_text((server.state / "ca.pem").read_text())
    marks = {machine: machine.mark() for machine in (server, *nodes)}

    # ---- Nothing happens out of its order
    expect_in("No change of the CA is under way", group.postern("ca", "show").out, "ca show")
    expect_in("postern ca roll", group.postern("ca", "switch", status=1).err, "switch too early")
    expect_in("no change", group.postern("ca", "finish", status=1).err, "finish too early")

    # ---- The next one is made known, while everything works
    expect_in("The next CA is being made known", group.postern("ca", "roll").out, "ca roll")
    group.postern("ca", "roll")  # and nothing more
    expect_in("postern ca switch", group.postern("ca", "finish", status=1).err, "finish too early")
    wait_only(group, [away.name], "all but one know the next CA")
    for node in nodes:
        expect(roots(node.state / "anchors.pem") == [old, new], f"{node.name}: anchors")
    shown = group.postern("ca", "show").out
    expect_in(f"{len(nodes)} of {len(nodes) + 1} nodes trust it", shown, "ca show")
    refusal = group.postern("ca", "switch", status=1).err
    expect_in(f"1 of {len(nodes) + 1} nodes are not ready: {away.name} (does not trust the next CA yet)",
              refusal, "switch with one that is away")
    expect(not server.said("the next CA signs", mark=marks[server]), "it was switched all the same")
    not_dropped((server, *nodes), marks)

    # ---- A server that dies in between has forgotten nothing
    server.kill()
    group.start_server()
    gw1.wait_said("attached to", mark=marks[gw1], seconds=40)
    wait_only(group, [away.name], "the same after kill -9 of the server")
    wait_complete(group, agents[0])
    marks = {machine: machine.mark() for machine in (server, *nodes)}

    # ---- The next one signs; every certificate is renewed on its open channel
    expect_in("The next CA signs", group.postern("ca", "switch", "--leave-behind").out, "ca switch")
    expect_in("not finished", group.postern("ca", "roll", status=1).err, "roll in the middle")
    wait_only(group, [away.name], "all but one use a certificate of the next CA")
    new_root = server.state / "ca.pem"
    for node in (server, *nodes):
        expect(leads_to(node, new_root) and not leads_to(node, old_root), f"{node.name}: its chain")
    not_dropped((server, *nodes), marks)

    # ---- The former one is withdrawn
    expect_in(f"{away.name} (uses a certificate of the former CA)",
              group.postern("ca", "finish", status=1).err, "finish with one that is away")
    expect_in("No change of the CA is under way",
              group.postern("ca", "finish", "--leave-behind").out, "ca finish")
    for node in (server, *nodes):
        poll(f"{node.name} trusts the new one alone",
             lambda node=node: roots(node.state / "anchors.pem") == [new], STEP_SECONDS_MAX)
    not_dropped((server, *nodes), marks)
    expect([entry["what"] for entry in group.ask_api("/api/v1/audit?limit=200")["items"]
            if entry["what"].startswith("CA roll-over")] ==
           ["CA roll-over finished", "CA roll-over: the next CA signs", "CA roll-over begun"],
           "the audit list")

    # ---- New handshakes, of everybody
    for gateway in (gw1, gw2):
        gateway.kill()
        gateway.start()
    for node in nodes:
        node.wait_said("attached to", mark=marks[node], seconds=60)

    # ---- Who was away through all of it comes back by itself, and with what it had kept
    mark = away.mark()
    away.start()
    away.wait_said("no parent: ", "(unknown_ca)", mark=mark, seconds=30)
    away.wait_said("attached to", mark=mark, seconds=60)
    expect(roots(away.state / "anchors.pem") == [new] and leads_to(away, new_root), "away: its trust")
    wait_complete(group, away)

    # ---- A newcomer with the group's file of now
    (server.folder / "group.postern").rename(server.folder / "old-group.postern")
    late = group.add("late.site.example", "agent", gw2)
    late.wait_said("attached to", seconds=40)

    for writer in writers:
        writer.end()
    for agent, writer in zip(agents, writers):
        each_line_once(group, agent, writer)
    for node in (*nodes, away, late):
        wait_complete(group, node)
    expect(not group.ask_api("/api/v1/losses")["items"], "something is in the loss ledger")

    # ---- Canary: a chain of the former CA does not lead to the new one
    try:
        expect(leads_to(gw1, old_root), "as it must be")
    except Failure:
        return
    raise Failure("the comparison of chains sees no difference")


main(test)
