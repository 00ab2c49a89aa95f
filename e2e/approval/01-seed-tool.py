#!/usr/bin/env python3
"""The approval tool under its old name: its words, its statuses (docs/operating/seed-tools.md), and
what it does to gateways that run."""
import os
import pathlib
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from postern import (APPROVAL_TOOL, BIN, expect, expect_in, main, poll, run,  # noqa: E402
                     to_seconds, wait_complete)

CONNECTS_WITHIN_SECONDS = 15
STAYS_AWAY_SECONDS = 5
STRANGER = 54321  # a user id that nobody has

APPROVED = "The approval of server {} completed successfully.\n"
REMOVED = "The removal of server {} from the management group completed successfully.\n"


def tool(group, *arguments, status=0):
    return group.server.run(APPROVAL_TOOL, *arguments, status=status)


def create(group, gateway, parent="ms.home.example", status=0, *more):
    return tool(group, f"/ManagementServerName={parent}", f"/GatewayName={gateway}", "/Action=Create",
                *more, status=status)


def delete(group, gateway, parent="ms.home.example", status=0):
    return tool(group, f"/ManagementServerName={parent}", f"/GatewayName={gateway}", "/Action=Delete",
                status=status)


def node(group, name):
    return next((n for n in group.ask("inventory")["items"] if n["name"] == name), None)


def approval_lets_it_in(group):
    gateway = group.add("gw1.dmz.example", "gateway", group.server, approve=False)
    gateway.wait_said("refuses this node", "(pending_approval")
    pending = poll("it is pending", lambda: [
        n for n in group.ask("pending", "list")["items"] if n["name"] == gateway.name])[0]
    expect(pending["role"] == "gateway" and len(pending["id"]) == 32, f"{pending}")
    expect(len(pending["certificate_sha256"]) == 64 and pending["address"].startswith("127."), f"{pending}")
    expect(time.time() - to_seconds(pending["last_seen"]) < 60, f"{pending}")
    expect(node(group, gateway.name) is None, "it is in the inventory before its approval")
    group.server.wait_said(gateway.name, "(pending_approval")
    expect_in(gateway.name, group.postern("pending", "list").out, "pending list")

    done = create(group, gateway.name)
    expect(done.out == APPROVED.format(gateway.name) and done.err == "", f"{done}")
    started = time.monotonic()
    gateway.wait_said("attached to", seconds=CONNECTS_WITHIN_SECONDS)
    print(f"connected {time.monotonic() - started:.1f} s after its approval")
    expect(not group.ask("pending", "list")["items"], "it is still pending")
    wait_complete(group, gateway)
    return gateway


def never_connected(group):
    create(group, "gw7.dmz.example")
    found = node(group, "gw7.dmz.example")
    expect(found and found["connection"] == "never connected" and found["last_seen"] is None, f"{found}")


def approving_twice(group, gateway):
    done = create(group, gateway.name)
    expect(done.out.startswith(APPROVED.format(gateway.name)), f"{done}")
    expect("already" in done.out, f"it does not say that nothing changed: {done}")
    expect(node(group, gateway.name)["connected"], "approving it again cut its connection")


def case_does_not_matter(group):
    done = tool(group, "/managementservername=MS.home.example", "/GATEWAYNAME=GW8.dmz.example",
                "/action=CREATE")
    expect(done.out == APPROVED.format("GW8.dmz.example"), f"{done}")
    expect(node(group, "gw8.dmz.example"), "gw8 is not in the inventory")
    exe = group.folder / f"{APPROVAL_TOOL}.exe".upper()
    exe.symlink_to(BIN / "postern")
    done = group.server.run(exe, "/ManagementServerName=ms.home.example", "/GatewayName=gw8.dmz.example",
                            "/Action=Delete")
    expect(done.out == REMOVED.format("gw8.dmz.example"), f"{done}")


def mistakes(group):
    """(arguments, status, words that must be in its message)."""
    server, name = "/ManagementServerName=ms.home.example", "/GatewayName=gw9.dmz.example"
    for arguments, status, words in (
            ([server, name, "/Action=Approve"], 3, ["Approve", "Create", "Delete"]),
            (["/ManagementServerName=nobody.home.example", name, "/Action=Create"], 5,
             ["nobody.home.example"]),
            (["/ManagementServerName=nobody.home.example", name, "/Action=Delete"], 5,
             ["nobody.home.example"]),
            ([server, "/GatewayName=gw9", "/Action=Create"], 4, ["/GatewayName", "gw9"]),
            (["/ManagementServerName=ms", name, "/Action=Create"], 4, ["/ManagementServerName", "ms"]),
            ([server, "/Action=Create"], 2, ["/GatewayName", "missing"]),
            ([name, "/Action=Create"], 2, ["/ManagementServerName", "missing"]),
            ([server, name], 2, ["/Action", "missing"]),
            ([server, name, name, "/Action=Create"], 2, ["/GatewayName", "twice"]),
            ([server, name, "/Action=Create", "/Force"], 2, ["/Force"]),
            ([server, name, "/Action=Delete"], 9, ["gw9.dmz.example"]),
            ([server, name, "/Action=Create", "/ManagementServerInitiatesConnection=True"], 8,
             ["management server", "not available in this version"]),
            ([server, name, "/Action=Create", "/ManagementServerInitiatesConnection"], 8,
             ["not available in this version"])):
        done = tool(group, *arguments, status=status)
        expect(done.out == "", f"something on standard output: {done}")
        for word in words:
            expect_in(word, done.err, f"status {status}")
    found = node(group, "gw9.dmz.example")
    expect(found is None or not found["connected"], f"gw9 is {found}")


def switch_wish_is_stored(group):
    """Refused by name, but not forgotten: an administrator sees what was asked for."""
    create(group, "gw6.dmz.example", "ms.home.example", 8, "/ManagementServerInitiatesConnection=True")
    seen = group.postern("--output", "json", "pending", "list").out + \
        group.postern("--output", "json", "gateway", "list").out
    shown = group.postern("--output", "json", "gateway", "show", "gw6.dmz.example", status=None)
    expect("gw6.dmz.example" in seen or shown.status == 0, f"the wish is nowhere: {seen}{shown}")
    create(group, "gw6.dmz.example")
    expect(node(group, "gw6.dmz.example"), "approving without the switch is not possible afterwards")


def rights(group):
    """Only administrators: root as a canary, so that it is not something else that fails."""
    if os.geteuid() != 0:
        print("rights: left out, only root can become somebody else")
        return
    arguments = ["/ManagementServerName=ms.home.example", "/GatewayName=gw5.dmz.example",
                 "/Action=Create"]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="e2e-"))
    try:
        folder.chmod(0o755)
        program = folder / APPROVAL_TOOL
        shutil.copy(BIN / "postern", program)
        program.chmod(0o755)
        stranger = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
        env = group.env(group.server)
        done = run([*stranger, program, *arguments], status=6, env=env)
        expect_in("postern-admin", done.err, "no way to the socket")

        # Now he may go to the socket, if its own mode lets him; then the server must refuse him.
        opened = {path: path.stat().st_mode for path in (group.folder, group.server.folder, group.server.state)}
        for path, mode in opened.items():
            path.chmod(mode | 0o011)
        socket = group.server.state / "api.sock"
        socket_mode = socket.stat().st_mode
        socket.chmod(0o666)
        try:
            done = run([*stranger, program, *arguments], status=6, env=env)
            expect(done.out == "", f"{done}")
        finally:
            socket.chmod(socket_mode & 0o777)
            for path, mode in opened.items():
                path.chmod(mode & 0o7777)
        expect(node(group, "gw5.dmz.example") is None, "it was approved all the same")
        canary = run([program, *arguments], status=0, env=env)
        expect(canary.out == APPROVED.format("gw5.dmz.example"), f"{canary}")
    finally:
        shutil.rmtree(folder)


def unreachable(group):
    env = dict(group.env(group.server), POSTERN_SERVER=f"unix:{group.folder}/nowhere.sock")
    done = run([BIN / APPROVAL_TOOL, "/ManagementServerName=ms.home.example",
                "/GatewayName=gw1.dmz.example", "/Action=Create"], status=7, env=env)
    expect_in("nowhere.sock", done.err, "status 7")


def removal_ends_it(group, gateway, parent, witness):
    """Connected, then removed: cut at once, refused for as long as it is not approved again."""
    mark, witness_mark = gateway.mark(), witness.mark()
    done = delete(group, gateway.name, parent.name)
    expect(done.out == REMOVED.format(gateway.name), f"{done}")
    started = time.monotonic()
    gateway.wait_said("(removed", mark=mark, seconds=5)
    print(f"{gateway.name}: cut after {time.monotonic() - started:.1f} s")
    witness.wait_said(gateway.name, "removed", mark=witness_mark, seconds=5)
    expect(node(group, gateway.name) is None, "it is still in the inventory")

    # A restart tries at once, whatever the refuser said about when to retry.
    gateway.stop()
    mark = gateway.mark()
    gateway.start()
    gateway.wait_said("refuses this node", "(removed", mark=mark)
    end = time.monotonic() + STAYS_AWAY_SECONDS
    poll("time passes", lambda: time.monotonic() > end, STAYS_AWAY_SECONDS + 5)
    expect(not gateway.said("attached to", mark=mark), "it came back without an approval")
    expect(gateway.running, f"it ended:\n{gateway.tail()}")

    create(group, gateway.name, parent.name)
    gateway.stop()
    mark = gateway.mark()
    gateway.start()
    gateway.wait_said("attached to", mark=mark, seconds=CONNECTS_WITHIN_SECONDS)


def agent_behind_two_gateways_is_removed(group, parent):
    agent = group.add("a3.site.example", "agent", parent)
    wait_complete(group, agent)
    mark, parent_mark = agent.mark(), parent.mark()
    group.postern("agent", "remove", agent.name)
    agent.wait_said("(removed", mark=mark, seconds=5)
    parent.wait_said(agent.name, "removed", mark=parent_mark, seconds=5)
    expect(node(group, agent.name) is None, "it is still in the inventory")


def test(group):
    group.make_server()
    server = group.start_server()
    gateway = approval_lets_it_in(group)
    never_connected(group)
    approving_twice(group, gateway)
    case_does_not_matter(group)
    mistakes(group)
    switch_wish_is_stored(group)
    rights(group)
    unreachable(group)
    second = group.add("gw2.site.example", "gateway", gateway)
    second.wait_said("attached to")
    agent_behind_two_gateways_is_removed(group, second)
    removal_ends_it(group, second, gateway, witness=gateway)
    removal_ends_it(group, gateway, server, witness=server)
    second.wait_said("attached to", mark=0)
    expect(server.running, server.tail())


main(test)
