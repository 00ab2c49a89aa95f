#!/usr/bin/env python3
"""Machines join with a line of text: a gateway, one behind it, and agents behind that, whatever
breaks on the way and whoever sits in between; a token opens nothing but what it is for."""
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from postern import Failure, expect, expect_in, main, poll, wait_complete  # noqa: E402
from wire_cutter import CapturedGateway, Cutter, post_join  # noqa: E402

UP_CUTS = (0, 1, 100, 300, 600, 900, 1300)
DOWN_CUTS = (0, 50, 400, 900, 1500, 2000, 3000)


def token(group, *options):
    return group.postern("token", "create", *options).out.strip()


def tokens(group):
    return {one["id"]: one for one in group.ask("token", "list")["items"]}


def setup(machine, line, parent, *options, status=0, **more):
    """One command on the new machine. `parent`: (name, address, port)."""
    name, address, port = parent
    listen = (["--listen", f"{machine.address}:{machine.port}"] if machine.role == "gateway" else [])
    done = machine.run(f"postern-{machine.role}", "setup", "--token-file", "-", "--name", machine.name,
                       "--parent", f"{name}={address}:{port}", "--config", machine.config, "--state",
                       machine.state, "--no-start", *listen, *options, status=status,
                       data=f"{line}\n".encode(), **more)
    if status == 0 and "interval" not in machine.config.read_text():
        machine.set("interval", "1s")
    return done


def at(machine):
    return machine.name, machine.address, machine.port


def audit(group, *parts):
    entries = group.ask_api("/api/v1/audit?limit=200")["items"]
    return [e for e in entries if all(p in str(e) for p in parts)]


def a_chain_by_tokens(group, server):
    """Two commands a machine: one at home, one there."""
    gw1 = group.machine("gw1.dmz.example", "gateway")
    gw2 = group.machine("gw2.site.example", "gateway")
    agent = group.machine("a1.site.example", "agent")
    for machine, parent in ((gw1, server), (gw2, gw1), (agent, gw2)):
        line = token(group, "--role", machine.role, "--name", f"{machine.name.split('.')[0]}.*")
        done = setup(machine, line, at(parent))
        expect_in(f"{machine.name} joined the management group {group.name} over {parent.name}: approved",
                  done.out, "setup")
        machine.start()
        machine.wait_said("attached to", seconds=20)
        again = setup(machine, line, at(parent))
        expect_in("is a member", again.out, "setup, run again")
    wait_complete(group, agent, at_least=3)
    expect_in("a1.site.example", group.postern("topology").out, "topology")
    return gw1, gw2, agent


def cut_everywhere(group, gw2):
    """The link breaks at every step; each machine is itself and counted once."""
    line = token(group, "--role", "agent", "--name", "cut*.site.example", "--uses", "50")
    cutter = Cutter(gw2.address, (gw2.address, gw2.port))
    cases = [{"up": n} for n in UP_CUTS] + [{"down": n} for n in DOWN_CUTS]
    last = None
    for number, case in enumerate(cases):
        machine = last = group.machine(f"cut{number}.site.example", "agent")
        cutter.cut_once(**case)
        done = setup(machine, line, (gw2.name, cutter.address, cutter.port), "--wait", "20s")
        expect_in("approved", done.out, f"setup, cut at {case}")
    expect(cutter.cuts >= len(cases) - 1, f"{cutter.cuts} connections were cut, of {len(cases)}")
    last.start()
    last.wait_said("attached to", seconds=20)
    used = [one["uses"] for one in tokens(group).values() if one["name"] == "cut*.site.example"]
    expect(used == [len(cases)], f"{len(cases)} machines joined, the token counts {used}")
    cutter.close()
    print(f"{len(cases)} cuts: each machine joined and counts once")


def the_way_home_is_down(group, gw1, gw2):
    """Setup waits while the near gateway cannot ask, and goes on when it can."""
    line = token(group, "--role", "agent", "--name", "late.site.example")
    late = group.machine("late.site.example", "agent")
    gw1.kill()
    gw2.wait_said("lost the parent", seconds=20)
    done = setup(late, line, at(gw2), "--wait", "1s", status=1)
    expect_in("cannot ask the management server now", done.err, "setup while the chain is cut")
    gw1.start()
    setup(late, line, at(gw2), "--wait", "25s")


def a_captured_gateway(group, gw2, agent_count):
    line = token(group, "--role", "agent", "--name", "prey.site.example")
    prey = group.machine("prey.site.example", "agent")
    captured = CapturedGateway(gw2.address, (gw2.address, gw2.port), group.folder)
    where = ("gw2.site.example", captured.address, captured.port)
    kept = {}

    def invent(_body, _ask):
        return 200, b"\x0a\x02hi"

    def keep(body, _ask):
        kept["request"] = body
        return 503, b"later"

    captured.mischief = invent
    done = setup(prey, line, where, "--wait", "1s", status=1)
    expect_in("another management group", done.err, "an invented answer")
    captured.mischief = keep
    setup(prey, line, where, "--wait", "1s", status=1)

    # What it kept is put to the true gateway: a certificate for a key that it does not have.
    status, answer = post_join((gw2.address, gw2.port), kept["request"])
    expect(status == 200, f"HTTP {status}: {answer}")
    kept["answer"] = answer
    status, again = post_join((gw2.address, gw2.port), kept["request"])
    expect(status == 200 and b"was here already" in again, f"replayed: {again}")
    poll("the replay is in the audit list", lambda: audit(group, "replayed", prey.name), 5)

    captured.mischief = lambda _body, _ask: (200, kept["answer"])
    done = setup(prey, line, where, "--wait", "1s", status=1)
    expect_in("to another request", done.err, "an old answer")

    # It races: its own copy first, then the machine's.
    def race(body, ask):
        if not kept.get("raced"):
            kept["raced"] = ask(body)
        return ask(body)

    captured.mischief = race
    done = setup(prey, line, where, "--wait", "20s")
    expect_in("approved", done.out, "setup through a gateway that races")
    expect(len(group.ask("agent", "list")["items"]) == agent_count + 1, "a node that nobody set up")
    uses = [one["uses"] for one in tokens(group).values() if one["name"] == "prey.site.example"]
    expect(uses == [1], f"the token counts {uses}")

    # Other bytes are nobody's word, and lock nothing.
    before = len(audit(group, ""))
    for at_byte in (5, len(kept["request"]) // 2, len(kept["request"]) - 3):
        forged = bytearray(kept["request"])
        forged[at_byte] ^= 1
        status, _ = post_join((gw2.address, gw2.port), bytes(forged))
        expect(status in (200, 503), f"a forged request: HTTP {status}")
        time.sleep(0.5)  # the gateway's limit for one address, not a wait for anything
    expect(len(audit(group, "")) == before, "forged requests are in the audit list")
    captured.close()


def what_a_token_is_not_for(group, gw2):
    def refused(machine, line, word):
        done = setup(machine, line, at(gw2), status=1)
        expect_in(f"({word})", done.err, f"setup of {machine.name}")
        poll(f"{word} is in the audit list", lambda: audit(group, word, machine.name), 5)

    line = token(group, "--role", "agent", "--name", "db*.site.example")
    refused(group.machine("web.site.example", "agent"), line, "wrong_name")
    setup(group.machine("db1.site.example", "agent"), line, at(gw2))
    refused(group.machine("db2.site.example", "agent"), line, "used_up")
    gateway = group.machine("db3.site.example", "gateway")
    done = setup(gateway, line, at(gw2), status=1)
    expect_in("postern-agent setup", done.err, "a token of another role")

    line = token(group, "--role", "agent", "--name", "gone.site.example")
    token_id = next(i for i, one in tokens(group).items() if one["name"] == "gone.site.example")
    group.postern("token", "revoke", token_id)
    refused(group.machine("gone.site.example", "agent"), line, "revoked")

    done = setup(group.machine("torn.site.example", "agent"), line[:-3], at(gw2), status=1)
    expect_in("copy", done.err, "a torn token")

    line = token(group, "--role", "agent", "--pending")
    waiting = group.machine("waits.site.example", "agent")
    done = setup(waiting, line, at(gw2))
    expect_in("postern pending approve waits.site.example", done.out, "a token for Pending")
    waiting.start()
    waiting.wait_said("not approved", seconds=20)
    group.postern("pending", "approve", waiting.name)
    waiting.wait_said("attached to", seconds=20)


def a_second_machine_of_the_name(group, gw2, agent):
    second = group.machine("copy.site.example", "agent")
    second.name = agent.name
    mark = agent.mark()
    line = token(group, "--role", "agent")
    done = setup(second, line, at(gw2), status=1)
    expect_in("(clash)", done.err, "a second machine of the name")
    pending = group.ask("pending", "list")["items"]
    expect(any("clash" in one["reason"] for one in pending), f"pending: {pending}")
    expect(not agent.said("lost the parent", mark=mark), "the live one was disturbed")
    group.postern("pending", "approve", next(p["id"] for p in pending if "clash" in p["reason"]))
    agent.stop()
    setup(second, line, at(gw2))
    second.start()
    second.wait_said("attached to", seconds=20)


def test(group):
    server = group.make_server()
    group.start_server()
    gw1, gw2, agent = a_chain_by_tokens(group, server)
    cut_everywhere(group, gw2)
    the_way_home_is_down(group, gw1, gw2)
    a_captured_gateway(group, gw2, len(group.ask("agent", "list")["items"]))
    what_a_token_is_not_for(group, gw2)
    a_second_machine_of_the_name(group, gw2, agent)


if __name__ == "__main__":
    main(test)
