#!/usr/bin/env python3
"""What an operator does to a program besides starting it: check-config, SIGHUP, --help, mistakes."""
import pathlib
import re
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from postern import (APPROVAL_TOOL, BIN, IMPORT_TOOL, applied_count, expect, expect_in, main,  # noqa: E402
                     poll, run, wait_complete)

PROGRAMS = ("postern-server", "postern-gateway", "postern-agent", "postern")


def help_and_usage():
    for program in PROGRAMS:
        done = run([BIN / program, "--help"])
        expect(len(done.out.splitlines()) > 3, f"--help says little: {done}")
        for wrong in (["--no-such-option"], ["no-such-verb"], []):
            done = run([BIN / program, *wrong], status=2)
            expect(done.err and done.out == "", f"usage goes to standard error: {done}")
    for program, verbs in (("postern-server", ("init", "run", "check-config")),
                           ("postern-gateway", ("run", "check-config")),
                           ("postern-agent", ("run", "check-config")),
                           ("postern", ("gateway", "agent", "pending", "inventory", "topology", "cert",
                                        "group"))):
        text = run([BIN / program, "--help"]).out
        for verb in verbs:
            expect_in(verb, text, f"{program} --help")
            run([BIN / program, verb, "--help"])
    for tool in (APPROVAL_TOOL, IMPORT_TOOL):
        expect_in("/", run([BIN / tool, "/?"]).out, tool)
        run([BIN / tool], status=2)
    run([BIN / "postern", "--output", "verse", "inventory"], status=2)


def check_config(machine, required):
    program = f"postern-{machine.role}"
    good = machine.config.read_text()
    machine.run(program, "check-config", "--config", machine.config)
    lines = len(good.splitlines())
    try:
        for broken, line, words in ((good + "colour: blue\n", lines + 1, "colour"),
                                    (re.sub(r"interval: \S+", "interval: soon", good), None, "soon"),
                                    (re.sub(rf"(?m)^{required}: .*\n", "", good), None, required),
                                    (good + "  - [\n", None, "")):
            machine.config.write_text(broken)
            done = machine.run(program, "check-config", "--config", machine.config, status=1)
            expect_in(machine.config.name, done.err, "the file's name")
            expect_in(words, done.err, "what is wrong")
            if line:
                expect_in(f"{machine.config.name}:{line}:", done.err, "the line")
            done = machine.run(program, "run", "--config", machine.config, status=1)
            expect_in(words, done.err, "run with a broken file")
    finally:
        machine.config.write_text(good)
    done = machine.run(program, "check-config", "--config", machine.folder / "missing.yaml", status=1)
    expect_in("missing.yaml", done.err, "a missing file")
    machine.run(program, "run", "--config", machine.folder / "missing.yaml", status=1)


def reload(machine, key, value, words):
    before = machine.config.read_text()
    machine.set(key, value)
    mark = machine.mark()
    machine.signal(signal.SIGHUP)
    if words:
        machine.wait_said(*words, mark=mark)
    machine.wait_said("configuration reloaded", mark=mark)
    return before


def reload_keeps_channels(group, gateway, agent):
    marks = {m.name: m.mark() for m in (group.server, gateway, agent)}
    reload(agent, "interval", "2s", ["interval is now", "2"])
    reload(gateway, "interval", "2s", ["interval is now", "2"])
    reload(group.server, "interval", "2s", ["interval is now", "2"])
    parents = re.search(r"parents: \[(.*)\]", agent.config.read_text())[1]
    reload(agent, "parents", f"[{parents}, {{name: gw9.dmz.example, address: '127.0.0.1:1'}}]",
           ["parents are now", "gw9.dmz.example"])

    # A broken file changes nothing, and says where it is broken.
    good = agent.config.read_text()
    agent.config.write_text(good + "colour: blue\n")
    mark = agent.mark()
    agent.signal(signal.SIGHUP)
    agent.wait_said(f"{agent.config.name}:{len(good.splitlines()) + 1}", "colour", mark=mark)
    agent.config.write_text(good)

    before = applied_count(group, agent)
    poll("measurements go on", lambda: applied_count(group, agent) >= before + 2, 15)
    for machine in (group.server, gateway, agent):
        expect(machine.running, machine.tail())
        for words in ("lost the parent", "attached", "is gone"):
            line = machine.said(words, mark=marks[machine.name])
            expect(not line, f"{machine.name} dropped a channel: {line}")


def interval_took_effect(group, agent):
    """Two seconds apart now, not one."""
    def sealed():
        return sum(s["sealed"] for s in group.show(agent)["streams"] if s["lane"] == "metric")
    first, started = sealed(), time.monotonic()
    poll("four more batches", lambda: sealed() >= first + 4, 20)
    took = time.monotonic() - started
    expect(took > 4, f"four batches came within {took:.1f} s")


def new_parent_is_taken(group, gateway, agent):
    """From one parent to another one by SIGHUP alone."""
    other = group.add("gw2.dmz.example", "gateway", group.server)
    other.wait_said("attached to")
    group.postern("agent", "approve", agent.name)  # any parent
    mark = agent.mark()
    reload(agent, "parents", f"[{{name: {other.name}, address: '{other.address}:{other.port}'}}]",
           ["parents are now", other.name])
    agent.wait_said("attached to", other.name, mark=mark, seconds=30)
    wait_complete(group, agent)


def stops_when_told(group, machines):
    for machine in machines:
        started = time.monotonic()
        machine.stop(5)
        print(f"{machine.name} stopped within {time.monotonic() - started:.1f} s")


def test(group):
    help_and_usage()
    server = group.make_server()
    group.start_server()
    again = server.run("postern-server", "init", "--group", "OTHER", "--name", server.name, "--state",
                       server.state, "--listen", "127.0.0.1:1", "--config", server.config, status=1)
    expect_in("nothing was changed", again.err, "init on top of a group")
    gateway = group.add("gw1.dmz.example", "gateway", server)
    agent = group.add("a1.dmz.example", "agent", gateway)
    wait_complete(group, agent)
    for machine in (server, gateway, agent):
        check_config(machine, "group")
    reload_keeps_channels(group, gateway, agent)
    interval_took_effect(group, agent)
    new_parent_is_taken(group, gateway, agent)
    stops_when_told(group, [agent, gateway, server])


main(test)
