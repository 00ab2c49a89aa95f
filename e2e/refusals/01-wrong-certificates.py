#!/usr/bin/env python3
"""Whoever does it wrong is refused with the one reason that is true, both sides say the same word,
and nobody else is harmed."""
import contextlib
import os
import pathlib
import socket
import ssl
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import rogue  # noqa: E402
from postern import Failure, applied_count, expect, main, poll, wait_complete  # noqa: E402

DEADLINE_SECONDS = 10  # channel.md#W20
DAY = 86400


class Wrong:
    """The victim is gw1; a1 is its good child, whose batches must go on arriving."""

    def __init__(self, group):
        self.group = group
        group.make_server()
        group.start_server()
        self.gateway = group.add("gw1.dmz.example", "gateway", group.server)
        self.good = group.add("a1.dmz.example", "agent", self.gateway)
        wait_complete(group, self.good, at_least=1)
        self.ours = rogue.group_authority(group.server, group.folder / "our-ca")
        self.other = rogue.Authority(group.folder / "other-ca")
        self.problems = []

    def check(self, what, test):
        try:
            test()
            print(f"  {what}: as it should be")
        except (Failure, OSError) as failure:
            self.problems.append(f"{what}: {failure}")
            print(f"  {what}: WRONG: {failure}")

    def both_say(self, machine, peer, reason, child_refuses=False):
        """The agent's log and the gateway's name each other, the one that objects, and the reason."""
        if child_refuses:
            ours = machine.wait_said("we refuse", f"({reason}", seconds=20)
            theirs = self.gateway.wait_said(peer, "refuses us", f"({reason}")
            expect("CN=gw1.dmz.example" in ours, f"{machine.name} does not say what is wrong: {ours}")
        else:
            ours = machine.wait_said(f"{self.gateway.name} refuses this node", f"({reason}", seconds=20)
            theirs = self.gateway.wait_said("refused", peer, f"({reason}")
        print(f"    {machine.name}: {ours}\n    {self.gateway.name}: {theirs}")

    def agent(self, name, key, chain, anchors=None, parent_name=None, **settings):
        machine = self.group.machine(f"{name}.dmz.example", "agent")
        gateway = self.gateway
        machine.settings([gateway], **settings)
        if parent_name:
            machine.set("parents", f"[{{name: {parent_name}, address: '{gateway.address}:{gateway.port}'}}]")
        rogue.plant(machine, self.good, key, chain, anchors)
        return machine.start()

    def issue(self, name, authority=None, **how):
        folder = self.group.folder / "issued" / name
        return (authority or self.ours).issue(how.pop("issued_for", f"{name}.dmz.example"), folder, **how)


def start_agents_with_wrong_certificates(wrong):
    """[(what, reason, machine, whether it is the child that objects)]; they all try at once."""
    foreign_anchors = wrong.other.certificate
    made = [
        ("unknown CA", "unknown_ca",
         wrong.agent("stranger", *wrong.issue("stranger", wrong.other)), False),
        ("expired", "expired",
         wrong.agent("late", *wrong.issue("late", not_before=-2 * DAY, not_after=-DAY)), False),
        ("not yet valid", "not_yet_valid",
         wrong.agent("early", *wrong.issue("early", not_before=DAY, not_after=2 * DAY)), False),
        ("wrong name", "wrong_name",
         wrong.agent("alias", *wrong.issue("alias", issued_for="somebody.dmz.example")), False),
        ("wrong EKU", "wrong_usage",
         wrong.agent("onesided", *wrong.issue("onesided", usage="serverAuth")), False),
        ("another group", "wrong_group",
         wrong.agent("alien", *wrong.issue("alien"), group="ELSEWHERE"), False),
        ("unapproved", "pending_approval", wrong.agent("newcomer", *wrong.issue("newcomer")), False),
        # The other way round: the child objects to what the parent shows.
        ("the parent's CA is unknown to the child", "unknown_ca",
         wrong.agent("distrustful", *wrong.issue("distrustful"), anchors=foreign_anchors), True),
        ("the parent has another name than the one dialled", "wrong_name",
         wrong.agent("misled", *wrong.issue("misled"), parent_name="gw9.dmz.example"), True),
    ]
    return made


def no_certificate(wrong):
    mark = wrong.gateway.mark()
    client = rogue.Client(wrong.gateway)
    reason, words, refuser = client.refusal()
    expect(reason == "no_certificate", f"the refusal is {reason}: {words}")
    expect(refuser == wrong.gateway.name, f"the refuser is {refuser!r}")
    wrong.gateway.wait_said("(no_certificate", client.local, mark=mark)


def agent_without_certificate_says_so(wrong):
    machine = wrong.group.machine("bare.dmz.example", "agent")
    machine.settings([wrong.gateway])
    machine.start()
    poll("it ends by itself", lambda: not machine.running, 10)
    expect(machine.status == 1, f"status {machine.status}")
    expect("MOMCertImport" in machine.text() or "cert import" in machine.text(),
           f"no way out in:\n{machine.text()}")


def refused_hello(wrong, reason, name, **how):
    key, chain = wrong.issue(name)
    folder = wrong.group.folder / "issued" / name
    mark = wrong.gateway.mark()
    client = rogue.ExportingClient(wrong.gateway, key, chain)
    try:
        client.send(rogue.hello(rogue.Identity(folder), client.exporter, chain, f"{name}.dmz.example",
                                wrong.group.name, **how))
        got, words, _ = client.refusal()
        expect(got == reason, f"the refusal is {got}: {words}")
        wrong.gateway.wait_said(f"({reason}", f"{name}.dmz.example", mark=mark)
    finally:
        client.close()


def canary_of_the_hand_made_hello(wrong):
    """The same hello with nothing wrong is refused for want of approval only: so it is well made."""
    refused_hello(wrong, "pending_approval", "handmade")


def version_too_old(wrong):
    refused_hello(wrong, "version", "future", versions=(7, 9))


def claims_to_be_the_parent(wrong):
    refused_hello(wrong, "not_a_parent", "usurper", claim=rogue.PARENT, role=rogue.SERVER)


def frame_is_refused(wrong, name, data):
    key, chain = wrong.issue(name)
    mark = wrong.gateway.mark()
    client = rogue.Client(wrong.gateway, key, chain)
    client.send(data)
    reason, words, _ = client.refusal()
    expect(reason == "protocol", f"the refusal is {reason}: {words}")
    wrong.gateway.wait_said("(protocol", mark=mark)


def oversized_frame(wrong):
    frame_is_refused(wrong, "fat", rogue.frame(rogue.HELLO, b"x" * 100, length=rogue.FRAME_BODY_MAX + 1))


def garbage_in_the_channel(wrong):
    frame_is_refused(wrong, "babbler", b"\x05\0\0\0\x01\xff\x77\x01" + os.urandom(64))


def batch_before_hello(wrong):
    frame_is_refused(wrong, "hasty", rogue.frame(6, os.urandom(300), lane=3))


def ends(connection, seconds):
    """Seconds until the other side ended it."""
    started = time.monotonic()
    connection.settimeout(seconds)
    with contextlib.suppress(ConnectionResetError):
        while True:
            try:
                if not connection.recv(4096):
                    break
            except TimeoutError:
                raise Failure(f"the connection is still open after {seconds} s") from None
    return time.monotonic() - started


def garbage_instead_of_tls(wrong):
    mark = wrong.gateway.mark()
    with socket.create_connection((wrong.gateway.address, wrong.gateway.port)) as connection:
        local = "%s:%d" % connection.getsockname()
        connection.sendall(b"EHLO mail.example\r\n" + b"\xff" * 500)
        ends(connection, 5)
    wrong.gateway.wait_said(local, mark=mark)


def other_protocol_by_alpn(wrong):
    """The TLS alert says it all (channel.md#W2)."""
    for alpn in ("smtp", None):
        try:
            rogue.Client(wrong.gateway, alpn=alpn)
        except ssl.SSLError as error:
            expect("NO_APPLICATION_PROTOCOL" in str(error).upper().replace(" ", "_"), f"{alpn}: {error}")
        else:
            raise Failure(f"a handshake with ALPN {alpn} went through")


def client_hello():
    """The first half of a handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="gw1.dmz.example")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    data = out.read()
    return data[:len(data) // 2]


class Silent:
    """Connections that stop talking; they are looked at after the deadline."""

    def __init__(self, wrong):
        self.wrong, self.mark = wrong, wrong.gateway.mark()
        self.started = time.monotonic()
        where = (wrong.gateway.address, wrong.gateway.port)
        self.mute = socket.create_connection(where)
        self.half = socket.create_connection(where)
        self.half.sendall(client_hello())
        key, chain = wrong.issue("speechless")
        self.speechless = rogue.Client(wrong.gateway, key, chain)

    def closed(self, connection, *words):
        left = self.started + DEADLINE_SECONDS + 4 - time.monotonic()
        ends(connection, max(left, 0.5))
        took = time.monotonic() - self.started
        expect(took > DEADLINE_SECONDS - 2, f"it was closed after {took:.1f} s already")
        local = "%s:%d" % connection.getsockname()
        self.wrong.gateway.wait_said(local, *words, mark=self.mark)
        connection.close()

    def silence(self):
        self.closed(self.mute, "not one byte")

    def half_a_handshake(self):
        self.closed(self.half, "handshake")

    def no_hello(self):
        got, words, _ = self.speechless.refusal()
        expect(got == "protocol", f"the refusal is {got}: {words}")
        self.wrong.gateway.wait_said(self.speechless.local, "hello", mark=self.mark)


def test(group):
    wrong = Wrong(group)
    before = applied_count(group, wrong.good)
    channel = wrong.gateway.said("attached from", wrong.good.name)
    silent = Silent(wrong)
    agents = start_agents_with_wrong_certificates(wrong)

    for case in (no_certificate, agent_without_certificate_says_so, canary_of_the_hand_made_hello,
                 version_too_old, claims_to_be_the_parent, oversized_frame, garbage_in_the_channel,
                 batch_before_hello, garbage_instead_of_tls, other_protocol_by_alpn):
        wrong.check(case.__name__.replace("_", " "), lambda case=case: case(wrong))
    for what, reason, machine, child_refuses in agents:
        wrong.check(what, lambda machine=machine, reason=reason, child_refuses=child_refuses: wrong.both_say(
            machine, machine.name, reason, child_refuses))
        expect(machine.running, f"{machine.name} has ended:\n{machine.tail()}")
    for case in (silent.silence, silent.half_a_handshake, silent.no_hello):
        wrong.check(case.__name__.replace("_", " "), case)

    pending = {node["name"] for node in group.ask("pending", "list")["items"]}
    wrong.check("only who has a good certificate is pending", lambda: expect(
        pending == {"newcomer.dmz.example", "handmade.dmz.example"}, f"pending are {sorted(pending)}"))
    wrong.check("nobody of them is in the inventory", lambda: expect(
        {n["name"] for n in group.ask("inventory")["items"]} ==
        {group.server.name, wrong.gateway.name, wrong.good.name}, group.postern("inventory").out))

    def others_are_served():
        expect(wrong.gateway.running and group.server.running, "somebody has ended")
        wait_complete(group, wrong.good, at_least=before + 5)
        attached = wrong.gateway.text().count(f"agent {wrong.good.name} attached")
        expect(channel and attached == 1, f"{wrong.good.name} had to attach {attached} times")
    wrong.check("the good agent was served all the time, on one connection", others_are_served)
    if wrong.problems:
        raise Failure(f"{len(wrong.problems)} cases:\n  " + "\n  ".join(wrong.problems))


main(test)
