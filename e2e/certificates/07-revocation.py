#!/usr/bin/env python3
"""A certificate is revoked two gateways away, under load: its sessions end within seconds on every
hop, it cannot return, nobody else is disturbed, and with a new one nothing is lost or doubled."""
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import spool_file  # noqa: E402
from postern import expect, expect_in, main, poll, wait_complete  # noqa: E402
from writer import Writer, each_line_once  # noqa: E402

CUT_SECONDS_MAX = 5
DROPPED = ("lost the parent", "is gone: ", "refuses", "refused ", "no parent: ")


def certificate_of(group, machine):
    return next(item for item in group.ask_api("/api/v1/certificates")["items"]
                if item["node"] == machine.name)


def new_certificate(group, machine):
    """With a new key, by hand, while the program runs."""
    for old in machine.certificates.glob(f"{machine.name}.*"):
        old.unlink()
    group.certify(machine)


def compromised(group, gw1, gw2, bad, good):
    """What of it is still on its way counts no more (rule T3); everybody else's does."""
    ids = {agent: group.show(agent)["id"] for agent in (bad, good)}
    gw1.kill()
    before = {agent: len(in_the_spool(gw2, ids[agent])) for agent in ids}
    poll("batches of both lie in the gateway behind",
         lambda: all(len(in_the_spool(gw2, ids[agent])) > before[agent] + 1 for agent in ids))
    said = group.postern("cert", "revoke", bad.name, "--reason", "compromised").out
    expect_in(f"The identity of {bad.name} is revoked with it", said, "cert revoke")
    marks = {machine: machine.mark() for machine in (bad, good, gw2)}
    gw1.start()
    gw2.wait_said("attached to", mark=marks[gw2], seconds=60)

    def aside():
        return [one for one in group.ask("loss", "list", "--node", bad.name)["items"]
                if "compromised" in one["reason"]]
    lost = poll("what came of it is in the loss ledger", aside, 30)
    expect(all(one["kind"] == "refused" for one in lost), f"{lost}")
    new_certificate(group, bad)
    bad.wait_said("no parent: ", "compromised", mark=marks[bad], seconds=30)
    wait_complete(group, good)
    expect(not group.ask("loss", "list", "--node", good.name)["items"], "the other one lost something")
    print(f"compromised: {len(lost)} batches are kept aside, a new certificate does not help")


def in_the_spool(gateway, node_id):
    return [record for segment in (gateway.state / "spool").glob("*.log")
            for record in spool_file.records(segment)
            if record.kind == spool_file.BATCH and record.batch.node == node_id]


def test(group):
    server = group.make_server()
    group.start_server()
    gw1 = group.add("gw1.dmz.example", "gateway", server)
    gw2 = group.add("gw2.site.example", "gateway", gw1)
    agents, writers = [], []
    for number in (1, 2):
        agent = group.add(f"a{number}.site.example", "agent", gw2, start=False)
        writer = Writer(agent.folder / "app.log")
        agent.set("events", f"{{journal: off, files: [{{path: '{writer.path}', from: beginning}}]}}")
        agent.start()
        agents.append(agent)
        writers.append(writer)
    bad, good = agents
    for machine in (gw1, gw2, *agents):
        machine.wait_said("attached to", seconds=20)
    for writer in writers:
        writer.start()
    for agent in agents:
        wait_complete(group, agent, lane="event", at_least=3)
    before = poll("the server knows the certificate in use",
                  lambda: certificate_of(group, bad)["serial"])
    marks = {machine: machine.mark() for machine in group.machines}

    # ---- Cut, on the hop where it is
    begun = time.monotonic()
    done = group.postern("cert", "revoke", bad.name, "--reason", "retired")
    expect_in(f"The certificate of {bad.name} with serial {before} is revoked (retired).", done.out,
              "cert revoke")
    gw2.wait_said(f"refused {bad.name}", "(revoked)", mark=marks[gw2], seconds=CUT_SECONDS_MAX)
    bad.wait_said("lost the parent", "revoked", mark=marks[bad], seconds=CUT_SECONDS_MAX)
    took = time.monotonic() - begun
    expect(took < CUT_SECONDS_MAX, f"it was cut only after {took:.1f} s")
    print(f"cut two gateways away {took:.1f} s after the command began")
    expect(certificate_of(group, bad)["revoked"] == "retired", "cert list does not say so")
    expect_in("was already revoked", group.postern("cert", "revoke", bad.name).out, "a second time")

    for machine in group.machines:
        said = [machine.said(words, mark=marks[machine]) for words in DROPPED]
        expect(machine is bad or all(not line or bad.name in line for line in said),
               f"{machine.name} disturbed another one: {said}")

    # ---- It cannot come back: a new process, a new handshake, a new gateway
    for _ in range(2):
        mark = bad.mark()
        bad.kill()
        bad.start()
        bad.wait_said("no parent: ", "(revoked)", "postern cert request", mark=mark)
        expect(not bad.said("attached to", mark=mark), "it came in again")
    mark = gw2.mark()
    gw2.kill()
    gw2.start()
    gw2.wait_said(f"refused {bad.name}", "(revoked)", mark=mark, seconds=40)
    good.wait_said("attached to", mark=marks[good], seconds=40)
    bad.settings([gw1])
    bad.set("events", f"{{journal: off, files: [{{path: '{writers[0].path}', from: beginning}}]}}")
    mark = bad.mark()
    bad.kill()
    bad.start()
    bad.wait_said("no parent: ", f"{gw1.name} refuses this node", "(revoked)", mark=mark)
    bad.settings([gw2])
    bad.set("events", f"{{journal: off, files: [{{path: '{writers[0].path}', from: beginning}}]}}")

    # ---- With a new one it is back, and what it kept arrives
    mark = bad.mark()
    bad.kill()
    bad.start()
    bad.wait_said("no parent: ", "(revoked)", mark=mark)
    new_certificate(group, bad)
    bad.wait_said("attached to", mark=mark, seconds=40)
    poll("cert list shows the new one", lambda: certificate_of(group, bad)["serial"] != before)
    expect(not certificate_of(group, bad)["revoked"], f"{certificate_of(group, bad)}")
    revocations = group.ask_api("/api/v1/revocations")["items"]
    expect([one["serial"] for one in revocations] == [before], f"{revocations}")
    audited = [entry for entry in group.ask_api("/api/v1/audit?limit=100")["items"]
               if entry["what"] == "certificate revoked"]
    expect(len(audited) == 1 and before in audited[0]["detail"], f"{audited}")

    # ---- A gateway's: those above and those below leave it
    marks = {machine: machine.mark() for machine in group.machines}
    begun = time.monotonic()
    group.postern("cert", "revoke", gw2.name)
    gw1.wait_said(f"refused {gw2.name}", "(revoked)", mark=marks[gw1], seconds=CUT_SECONDS_MAX)
    for agent in agents:
        agent.wait_said("lost the parent", "(revoked)", mark=marks[agent], seconds=CUT_SECONDS_MAX)
        agent.wait_said("no parent: ", "(revoked)", mark=marks[agent])
    print(f"a gateway was cut on both sides {time.monotonic() - begun:.1f} s after the command began")
    new_certificate(group, gw2)
    for machine in (gw2, *agents):
        machine.wait_said("attached to", mark=marks[machine], seconds=60)

    for writer in writers:
        writer.end()
    for agent, writer in zip(agents, writers):
        each_line_once(group, agent, writer)
    for machine in group.machines:
        expect(not machine.said("invariant"), machine.said("invariant"))
    for machine in (server, gw1):
        said = [machine.said(words, good.name) for words in DROPPED]
        expect(not any(said), f"{machine.name} disturbed {good.name}: {said}")
    expect(not group.ask_api("/api/v1/losses")["items"], "something is in the loss ledger")
    compromised(group, gw1, gw2, bad, good)


main(test)
