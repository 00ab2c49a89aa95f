#!/usr/bin/env python3
"""Two machines that claim to be one: another identity under a known name, a copied state folder at the
same gateway and at another one, a machine that was installed anew. The one that is there is not
disturbed, an administrator sees the difference, and decides."""
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from postern import expect, expect_in, main, poll, wait_complete  # noqa: E402

DROPPED = ("lost the parent", "is gone: ", "refuses this node")


def clash(group, name):
    return next((one for one in group.ask("pending", "list")["items"]
                 if one["name"] == name and "clash" in one["reason"]), None)


def finding(group, name, words):
    return next((alert for alert in group.ask_api("/api/v1/alerts")["items"]
                 if alert["cause"] == f"finding {name}" and words in alert["words"]), None)


def another_machine(group, label, name, parent):
    """With the name of one that is known."""
    machine = group.machine(f"{label}.site.example", "agent")
    machine.settings([parent])
    machine.set("name", name)
    return machine


def copy_of(group, label, original, parent):
    machine = another_machine(group, label, original.name, parent)
    shutil.copytree(original.state, machine.state, ignore=shutil.ignore_patterns("*.sock"))
    return machine


def undisturbed(machine, mark):
    said = [machine.said(words, mark=mark) for words in DROPPED]
    expect(not any(said), f"{machine.name} was disturbed: {said}")


def certify_as(group, machine, name):
    """What Group.certify does, for a machine that has another's name."""
    machine.run("postern", "cert", "request", "--name", name, "--out", machine.certificates)
    signed = machine.certificates / f"{name}.pem"
    group.postern("cert", "sign", machine.certificates / f"{name}.csr", "--out", signed)
    group.postern("group", "export", machine.certificates / "group.postern")
    machine.run("postern", "cert", "import", "--subject-name", name, "--state", machine.state)


def test(group):
    server = group.make_server()
    group.start_server()
    gw1 = group.add("gw1.dmz.example", "gateway", server)
    gw2 = group.add("gw2.dmz.example", "gateway", server)
    agent = group.machine("a1.site.example", "agent")
    agent.settings([gw1])
    group.certify(agent)
    group.postern("agent", "approve", agent.name)
    agent.start()
    wait_complete(group, agent)
    mark = agent.mark()

    # ---- Another identity under a known name
    namesake = another_machine(group, "namesake", agent.name, gw1)
    certify_as(group, namesake, agent.name)
    namesake.start()
    namesake.wait_said("(clash)", seconds=20)
    waits = poll("it waits with the difference", lambda: clash(group, agent.name))
    known = next(one for one in group.ask_api("/api/v1/nodes")["items"] if one["name"] == agent.name)
    expect(waits["id"] != known["id"] and waits["path"] == [gw1.name, server.name], f"{waits}")
    for member in ("certificate_sha256", "address", "first_seen", "last_seen"):
        expect(waits[member], f"{member} is not shown: {waits}")
    namesake.stop()
    undisturbed(agent, mark)

    # ---- A copied state folder, at the same gateway
    copy = copy_of(group, "copy", agent, gw1)
    copy.start()
    copy.wait_said("another machine with the identity of", agent.name, "(clash)", seconds=20)
    gw1.wait_said("a second machine has the identity of", agent.name)
    poll("the alert names both", lambda: finding(group, agent.name, "a second machine has the identity"))
    copy.kill()
    undisturbed(agent, mark)

    # ---- At another gateway, which does not know of the first: their batches contradict each other
    far = copy_of(group, "far", agent, gw2)
    far.start()
    poll("the alert says so", lambda: finding(group, agent.name, "set back or copied"), 30)
    far.kill()
    undisturbed(agent, mark)

    # ---- A crash and a quick start are no second machine
    for _ in range(3):
        mark = agent.mark()
        agent.kill()
        agent.start()
        agent.wait_said("attached to", mark=mark, seconds=20)
        expect(not agent.said("(clash)", mark=mark), "it was taken for another machine")
    wait_complete(group, agent)

    # ---- Installed anew: it waits, and gets the name on an administrator's word
    agent.stop()
    shutil.rmtree(agent.state)
    group.postern("pending", "reject", waits["id"])
    certify_as(group, agent, agent.name)
    mark = agent.mark()
    agent.start()
    agent.wait_said("(clash)", mark=mark, seconds=20)
    anew = poll("it waits", lambda: clash(group, agent.name))
    expect(anew["id"] not in (waits["id"], known["id"]), f"{anew}")
    expect_in(agent.name, group.postern("pending", "approve", anew["id"]).out, "pending approve")
    agent.wait_said("attached to", mark=mark, seconds=60)
    wait_complete(group, agent)
    bound = next(one for one in group.ask_api("/api/v1/nodes")["items"]
                 if one["name"] == agent.name and one["standing"] == "approved")
    expect(bound["id"] == anew["id"], f"{bound}")


main(test)
