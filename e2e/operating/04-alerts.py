#!/usr/bin/env python3
"""Each alert that should be is raised once, says what is wrong, and closes by itself; no other is."""
import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import rogue  # noqa: E402
from postern import IMPORT_TOOL, expect, expect_in, main, poll, run, wait_complete  # noqa: E402
from slow_link import SlowLink  # noqa: E402

MINUTE = 60
LOOK_SECONDS = 5     # how often the server looks
LOST_SECONDS = 13    # three intervals of 1 s, and 10 s
PATIENCE = LOST_SECONDS + 3 * LOOK_SECONDS
CLOCK_AHEAD = 90
EVENT_MEGABYTES = 24
SLOW, FAST = 200_000, 1_000_000_000  # bytes a second

# What a machine with a wrong clock has instead of a right one.
WRONG_CLOCK = """#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec* now) {
  const int result = (int)syscall(SYS_clock_gettime, id, now);
  if (id == CLOCK_REALTIME) now->tv_sec += %d;
  return result;
}
"""


def alerts(group, *more):
    """{cause: alert} of those that are open; of all, the newest of each cause, with --all."""
    return {one["cause"]: one for one in reversed(group.ask("alert", "list", *more)["items"])}


def opened(group, cause, severity, *words, seconds=PATIENCE):
    alert = poll(f"alert {cause}", lambda: alerts(group).get(cause), seconds, 0.5)
    poll(f"{cause} is {severity}", lambda: alerts(group)[cause]["severity"] == severity, seconds, 0.5)
    for part in words:
        expect_in(part, alerts(group)[cause]["words"], cause)
    return alert


def closed(group, cause, seconds=PATIENCE):
    poll(f"{cause} closes", lambda: cause not in alerts(group), seconds, 0.5)
    last = alerts(group, "--all")[cause]
    expect(last["closed"] and last["closed_by"] is None, f"{last}")
    expect(last["count"] == 1, f"one condition counts once: {last}")


def health(group, machine):
    node = group.show(machine)
    return node["health"], node["via"]


def with_certificate(group, authority, name, role, parent, **life):
    """A machine whose certificate has such a life behind and before it."""
    machine = group.machine(name, role)
    machine.settings([parent], certificates="{renew: off}")
    install(group, authority, machine, **life)
    group.postern("agent", "approve", name, "--parent", parent.name)
    return machine.start()


def install(group, authority, machine, **life):
    where = group.folder / f"{machine.name}-{life['not_after']}"
    key, chain = authority.issue(machine.name, where, **life)
    group.postern("group", "export", where / "group.postern")
    machine.run(IMPORT_TOOL, "/SubjectName", machine.name, "--state", machine.state,
                env={"POSTERN_CERT_STORE": str(where)})
    return key, chain


def wrong_clock(group, machine):
    """The program's clock is ahead from its next start on."""
    source, library = group.folder / "clock.c", group.folder / "clock.so"
    source.write_text(WRONG_CLOCK % CLOCK_AHEAD)
    run(["cc", "-shared", "-fPIC", "-o", library, source])
    machine.daemon.env = dict(machine.daemon.env or os.environ, LD_PRELOAD=str(library))


def behind_a_slow_link(group, parent):
    """An agent with much to say, and a way that carries little."""
    link = SlowLink(parent.address, (parent.address, parent.port), SLOW)
    agent = group.machine("full.dmz.example", "agent")
    log = agent.folder / "app.log"
    agent.settings([parent], spool="{bytes_max: 64MiB}",
                   events="{journal: off, records_per_second_max: 100000, files: "
                   f"[{{path: {log}, from: beginning}}]}}")
    agent.set("parents", f"[{{name: {parent.name}, address: '{link.address}:{link.port}'}}]")
    with open(log, "w", encoding="ascii") as out:
        for _ in range(EVENT_MEGABYTES * 64):
            out.write(os.urandom(8192).hex() + "\n")
    group.certify(agent)
    group.postern("agent", "approve", agent.name, "--parent", parent.name)
    agent.start()
    return agent, link


def operator_closes(group, cause):
    """It stays closed while its condition lasts, also over a restart."""
    alert = alerts(group)[cause]
    expect_in("closed", group.postern("alert", "close", str(alert["id"])).out, "alert close")
    shown = group.ask("alert", "show", str(alert["id"]))
    expect(shown["closed_by"], f"{shown}")
    group.server.stop()
    group.start_server()
    return alert["id"]


def limits_are_checked(server):
    good = server.config.read_text()
    server.set("alerts", "{spool_fill: {warning: 99%, critical: 95%}}")
    done = server.run("postern-server", "check-config", "--config", server.config, status=1)
    expect_in(f"{server.config.name}:{len(good.splitlines()) + 1}: alerts.spool_fill", done.err, "the line")
    server.config.write_text(good)


def test(group):
    server = group.make_server()
    limits_are_checked(server)
    server.set("alerts", "{never_connected_after: 5s, clock: {warning: 20s, critical: 60s}, "
                         "spool_fill: {warning: 10%, critical: 90%}, spool_age: 10s}")
    group.start_server()
    authority = rogue.group_authority(server, group.folder / "ca")
    gw1 = group.add("gw1.dmz.example", "gateway", server)
    gw2 = group.add("gw2.site.example", "gateway", server)
    well = group.add("well.dmz.example", "agent", gw1)
    killed = group.add("killed.dmz.example", "agent", gw1)
    behind = group.add("behind.site.example", "agent", gw2)
    late = group.add("late.dmz.example", "agent", gw1, start=False)
    clock = group.add("clock.dmz.example", "agent", gw1, start=False)
    right_env = clock.daemon.env
    wrong_clock(group, clock)
    clock.start()
    brief = with_certificate(group, authority, "brief.dmz.example", "agent", gw1,
                             not_before=-30 * MINUTE, not_after=10 * MINUTE)
    full, link = behind_a_slow_link(group, gw1)
    for machine in (well, killed, behind):
        wait_complete(group, machine)
        expect(health(group, machine) == ("healthy", None), f"{machine.name}: {health(group, machine)}")

    killed.kill()
    gw2.kill()
    opened(group, f"never-connected {late.name}", "warning", late.name)
    opened(group, f"clock {clock.name}", "critical", "ahead of ours")
    opened(group, f"certificate {brief.name}", "warning", "ends at")
    opened(group, f"spool-fill {full.name}", "warning", "spool.bytes_max")
    opened(group, f"spool-age {full.name}", "warning", "waits longer than 10 s")
    opened(group, f"heartbeat {killed.name}", "warning", "not heard since")
    opened(group, f"heartbeat {gw2.name}", "critical", "1 node behind it unknown")
    expect(health(group, killed) == ("warning", None), f"{health(group, killed)}")
    expect(health(group, gw2) == ("critical", None), f"{health(group, gw2)}")
    expect(health(group, behind) == ("unknown", gw2.name), f"{health(group, behind)}")
    expect(health(group, well) == ("healthy", None), f"{health(group, well)}")
    for words in ("inventory", "topology"):
        expect_in(" unknown ", group.postern(words).out, words)
    expect_in(f"unknown via {gw2.name}", group.postern("agent", "show", behind.name).out, "agent show")
    expect(not group.show(killed)["connected"] and not group.show(behind)["connected"], "connected")

    never = operator_closes(group, f"never-connected {late.name}")

    # What ends closes; the server that has just started knows what was open.
    link.rate = FAST
    killed.start()
    gw2.start()
    clock.stop()
    clock.daemon.env = right_env
    clock.start()
    install(group, authority, brief, not_before=-MINUTE, not_after=10 * 24 * 60 * MINUTE)
    brief.signal(signal.SIGHUP)
    for cause in (f"heartbeat {killed.name}", f"heartbeat {gw2.name}", f"clock {clock.name}",
                  f"certificate {brief.name}", f"spool-fill {full.name}", f"spool-age {full.name}"):
        closed(group, cause)
    expect(health(group, behind) == ("healthy", None), f"{health(group, behind)}")

    time.sleep(LOOK_SECONDS)  # one more look
    expect(alerts(group) == {}, f"open although nothing is wrong: {alerts(group)}")
    everything = group.ask("alert", "list", "--all")["items"]
    expect(len(everything) == 7, f"alerts that should not be: {[one['cause'] for one in everything]}")
    expect(next(one for one in everything if one["id"] == never)["closed_by"], "closed by an operator")
    late.start()
    wait_complete(group, late)
    expect(health(group, late) == ("healthy", None), f"{health(group, late)}")


main(test)
