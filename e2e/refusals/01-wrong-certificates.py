#!/usr/bin/env python3
"""Whoever does it wrong is refused with the one reason that is true; both sides' logs, `postern cert
verify` and `postern doctor` say the same word, and nobody else is harmed."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import socket
import ssl
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import doctor as tool  # noqa: E402
import rogue  # noqa: E402
import zoo  # noqa: E402
from postern import Failure, applied_count, expect, main, poll, wait_complete  # noqa: E402

DEADLINE_SECONDS = 10  # channel.md#W20
WORKERS = 4


class Wrong:
    """The victim is gw1; a1 is its good child, whose batches must go on arriving."""

    def __init__(self, group):
        self.group = group
        group.make_server()
        group.start_server()
        self.gateway = group.add("gw1.dmz.example", "gateway", group.server)
        self.good = group.add("a1.dmz.example", "agent", self.gateway)
        wait_complete(group, self.good, at_least=1)
        self.zoo = zoo.Zoo(group.folder / "zoo", group.server)
        self.problems, self.cases = [], 0

    def check(self, what, test):
        self.cases += 1
        try:
            test()
            print(f"  {what}: as it should be")
        except (Failure, OSError) as failure:
            self.problems.append(f"{what}: {failure}")
            print(f"  {what}: WRONG: {failure}")

    def both_say(self, machine, reason, child_refuses=False, parent=None):
        """The logs of child and parent name each other, the one that objects, and the reason."""
        parent = parent or self.gateway
        if child_refuses:
            ours = machine.wait_said("we refuse", f"({reason})", seconds=20)
            theirs = parent.wait_said(machine.name, "refuses us", f"({reason};")
            expect(f"CN={parent.name}" in ours, f"{machine.name} does not say what is wrong: {ours}")
        else:
            ours = machine.wait_said(f"{parent.name} refuses this node", f"({reason})", seconds=20)
            theirs = parent.wait_said("refused", machine.name, f"({reason})")
        print(f"    {machine.name}: {ours}\n    {parent.name}: {theirs}")
        self.doctor(machine, reason)

    def doctor(self, machine, reason):
        """It names the same reason, whether the program runs or not."""
        def same():
            found = tool.doctor(machine)
            got = found.conclusion["reason"]
            expect(found.status == 1 and got == reason, f"doctor says {got}, not {reason}:\n{found}")
            return True
        poll("doctor agrees", same, 3)  # the program may be between two attempts

    def verify(self, name, key, chain, reason, role="agent", anchors=None, where=()):
        """The tool finds the same reason, in the same words as the machines will."""
        done = self.group.server.run(
            "postern", "--output", "json", "cert", "verify", "--name", name, "--role", role, "--key", key,
            "--anchors", anchors or self.good.state / "anchors.pem", *where, chain, status=None)
        expect(done.status == (0 if reason == "ok" else 1), f"cert verify ends with {done}")
        found = json.loads(done.out)
        expect(found["reason"] == reason, f"cert verify says {found['reason']}: {done.out}")
        failed = {one["reason"] for one in found["requirements"] if not one["passed"]}
        expect(found["passed"] == (reason == "ok") and failed <= {reason},
               f"one thing is wrong, cert verify finds {failed}")

    def verify_with_peer(self, machine, reason, parent, own=False):
        """Both sides' view of a handshake with what the machine has; `own`: the parent refuses it."""
        where = f"{parent.name}={parent.address}:{parent.port}"
        done = machine.run("postern", "--output", "json", "cert", "verify", "--name", machine.name,
                           "--state", machine.state, "--role", machine.role, "--peer", where, status=None)
        found = json.loads(done.out)
        expect((done.status, found["reason"]) == (1, reason), f"cert verify --peer: {done}")
        failed = {(step["id"].split(".")[0], step["reason"])
                  for step in found["peer"]["steps"] if step["verdict"] == "fail"}
        expected = "own_certificate_at_parent" if own else "parent_certificate"
        expect((expected, reason) in failed, f"cert verify --peer finds {failed}: {done}")

    def breed(self, label, make):
        name = f"{label}.dmz.example"
        return name, *make(self.zoo, name)

    def agent(self, name, key, chain, anchors=None, parents=None, **settings):
        machine = self.group.machine(name, "agent")
        machine.settings([self.gateway], interval="1m", **settings)
        if parents:
            machine.set("parents", parents)
        rogue.plant(machine, self.good, key, chain, anchors)
        return machine.start()

    def good_agent(self, label, **how):
        return self.agent(*self.breed(label, lambda our_zoo, name: our_zoo.ours.issue(name)), **how)


def start_agents_from_the_zoo(wrong):
    """[(what, machine, test)]; they all try at once."""
    def case(what, reason_of_machines, reason_of_tool, machine, key, chain):
        def test():
            wrong.both_say(machine, reason_of_machines)
            # A name is held against the hello, which a handshake alone does not say (W5).
            if reason_of_tool not in ("ok", "wrong_name"):
                wrong.verify_with_peer(machine, reason_of_tool, wrong.gateway, own=True)
            wrong.verify(machine.name, key, chain, reason_of_tool)
        return f"{what} ({reason_of_machines})", machine, test

    kinds = zoo.REFUSED + zoo.TAKEN
    # Bred by several, started by this thread alone: processes end with the thread that started them.
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        made = list(pool.map(lambda kind: wrong.breed(kind[0], kind[-1]), kinds))
    started = [(kind, key, chain, wrong.agent(name, key, chain))
               for kind, (name, key, chain) in zip(kinds, made)]
    refused, taken = started[:len(zoo.REFUSED)], started[len(zoo.REFUSED):]
    return ([case(f"refused: {what}", reason, reason, machine, key, chain)
             for (_, what, reason, _), key, chain, machine in refused] +
            [case(f"taken: {what}", "pending_approval", "ok", machine, key, chain)
             for (_, what, _), key, chain, machine in taken])


def start_children_of_wrong_gateways(wrong):
    cases = []
    for label, what, reason, make in zoo.OF_PARENTS:
        name, key, chain = wrong.breed(label, make)
        gateway = wrong.group.machine(name, "gateway")
        gateway.settings([wrong.gateway], interval="1m")
        rogue.plant(gateway, wrong.good, key, chain)
        gateway.start()
        child = wrong.good_agent(
            f"childof{label}", parents=f"[{{name: {name}, address: '{gateway.address}:{gateway.port}'}}]")

        def refused(child=child, gateway=gateway, reason=reason, key=key, chain=chain):
            wrong.both_say(child, reason, child_refuses=True, parent=gateway)
            wrong.verify(gateway.name, key, chain, reason, role="gateway")
            wrong.verify_with_peer(child, reason, gateway)
        cases.append((f"the parent's certificate: {what} ({reason})", child, refused))
    return cases


def start_others(wrong):
    """Good certificates, and something else is wrong."""
    group, gateway = wrong.group, wrong.gateway
    here = f"address: '{gateway.address}:{gateway.port}'"
    group.postern("gateway", "approve", "actor.dmz.example", "--parent", gateway.name)
    group.postern("agent", "approve", "lost.dmz.example", "--parent", group.server.name)
    group.postern("agent", "approve", "leaver.dmz.example", "--parent", gateway.name)
    mirror = group.machine("mirror.dmz.example", "gateway")
    mirror.settings([], interval="1m")
    mirror.set("parents", f"[{{name: glass.dmz.example, address: '{mirror.address}:{mirror.port}'}}]")
    _, key, chain = wrong.breed("mirror", lambda our_zoo, name: our_zoo.ours.issue(
        name, subjectAltName="DNS:{name},DNS:glass.dmz.example"))
    rogue.plant(mirror, wrong.good, key, chain)
    mirror.start()
    leaver = wrong.good_agent("leaver")
    cases = [(what, machine, lambda machine=machine, reason=reason, of_child=of_child:
              wrong.both_say(machine, reason, child_refuses=of_child)) for what, reason, machine, of_child in (
        ("another group", "wrong_group", wrong.good_agent("alien", group="ELSEWHERE"), False),
        ("approved in another role", "wrong_role", wrong.good_agent("actor"), False),
        ("approved for another parent", "wrong_parent", wrong.good_agent("lost"), False),
        # The other way round: the child objects to what the parent shows.
        ("the parent's CA is unknown to the child", "unknown_ca",
         wrong.good_agent("distrustful", anchors=wrong.zoo.other.certificate), True),
    )]
    misled = wrong.good_agent("misled", parents=f"[{{name: gw9.dmz.example, {here}}}]")

    def misled_says():
        ours = misled.wait_said("we refuse", "CN=gw1.dmz.example", "(wrong_name)", seconds=20)
        print(f"    {misled.name}: {ours}\n    {gateway.name}:",
              gateway.wait_said(misled.name, "refuses us", "(wrong_name;"))
        wrong.doctor(misled, "wrong_name")
    cases.append(("the parent has another name than the one dialled", misled, misled_says))

    def mirror_says():
        print(f"    {mirror.name}:", mirror.wait_said("glass.dmz.example refuses this node", "(loop)"),
              f"\n    {mirror.name}:", mirror.wait_said("refused mirror.dmz.example", "(loop)"))
    cases.append(("a gateway that dials itself", mirror, mirror_says))

    def removed():
        leaver.wait_said("attached to")
        group.postern("agent", "remove", leaver.name)
        wrong.both_say(leaver, "removed")
    cases.append(("removed while attached", leaver, removed))
    group.postern("agent", "approve", "untrusted.dmz.example", "--parent", gateway.name)
    name, key, chain = wrong.breed("untrusted", lambda our_zoo, name: our_zoo.ours.issue(name))
    untrusted = wrong.agent(name, key, chain)

    def revoked():
        untrusted.wait_said("attached to")
        wrong.verify(name, key, chain, "ok", where=("--state", gateway.state))
        poll("the server knows its certificate", lambda: group.postern(
            "cert", "revoke", name, "--reason", "retired", status=None).status == 0)
        wrong.both_say(untrusted, "revoked")
        # By the list that the gateway has taken.
        poll("the tool agrees", lambda: wrong.verify(
            name, key, chain, "revoked", where=("--state", gateway.state)) or True, 5)
    cases.append(("revoked while attached", untrusted, revoked))
    turned_down = wrong.good_agent("turneddown")

    def rejected():
        wrong.both_say(turned_down, "pending_approval")
        group.postern("pending", "reject", turned_down.name)
        wrong.both_say(turned_down, "rejected")
    cases.append(("turned down", turned_down, rejected))
    return cases


def hand_shown(wrong, label, what, make):
    """Certificates that no node of ours loads, shown by a client of ours."""
    def case():
        name, key, chain = wrong.breed(label, make)
        mark = wrong.gateway.mark()
        client = rogue.Client(wrong.gateway, key, chain)
        reason, words, refuser = client.refusal()
        expect(reason == "malformed", f"the refusal is {reason}: {words}")
        expect(refuser == wrong.gateway.name, f"the refuser is {refuser!r}")
        said = wrong.gateway.wait_said("(malformed)", name, client.local, mark=mark)
        expect(name in words, f"the words do not name {name}: {words}")
        print(f"    {name}: {words} ({reason})\n    {wrong.gateway.name}: {said}")
        wrong.verify(name, key, chain, "malformed")
        machine = wrong.group.machine(name, "agent")
        machine.settings([wrong.gateway])
        rogue.plant(machine, wrong.good, key, chain)
        wrong.doctor(machine, "malformed")
    wrong.check(f"refused: {what} (malformed)", case)


def does_not_start(wrong, label, what, reason, make, *words):
    """It says itself what is wrong and ends; the tool says the same."""
    def case():
        name, key, chain = wrong.breed(label, make)
        machine = wrong.agent(name, key, chain)
        poll("it ends by itself", lambda: not machine.running, 10)
        expect(machine.status == 1, f"status {machine.status}")
        for word in words:
            expect(word in machine.text(), f"no {word!r} in:\n{machine.text()}")
        wrong.verify(name, key, chain, reason)
        wrong.doctor(machine, reason)
    wrong.check(f"does not start: {what} ({reason})", case)


def key_of_another(our_zoo, name):
    return our_zoo.ours.issue("lender.dmz.example")[0], our_zoo.ours.issue(name)[1]


def no_certificate(wrong):
    mark = wrong.gateway.mark()
    client = rogue.Client(wrong.gateway)
    reason, words, refuser = client.refusal()
    expect(reason == "no_certificate", f"the refusal is {reason}: {words}")
    expect(refuser == wrong.gateway.name, f"the refuser is {refuser!r}")
    wrong.gateway.wait_said("(no_certificate)", client.local, mark=mark)


def agent_without_certificate_says_so(wrong):
    machine = wrong.group.machine("bare.dmz.example", "agent")
    machine.settings([wrong.gateway])
    machine.start()
    poll("it ends by itself", lambda: not machine.running, 10)
    expect(machine.status == 1, f"status {machine.status}")
    expect("MOMCertImport" in machine.text() or "cert import" in machine.text(),
           f"no way out in:\n{machine.text()}")


def refused_hello(wrong, reason, label, called=None, **how):
    """`how` may be functions of what the hello would be made of otherwise."""
    name, key, chain = wrong.breed(label, lambda our_zoo, n: our_zoo.ours.issue(called or n))
    name = called or name
    mark = wrong.gateway.mark()
    client = rogue.ExportingClient(wrong.gateway, key, chain)
    try:
        client.send(rogue.hello(rogue.Identity(chain.parent), client.exporter, chain,
                                how.pop("claimed_name", name), how.pop("group", wrong.group.name), **how))
        got, words, _ = client.refusal()
        expect(got == reason, f"the refusal is {got}: {words}")
        said = wrong.gateway.wait_said(f"({reason})", name, mark=mark)
        print(f"    {name}: {words} ({got})\n    {wrong.gateway.name}: {said}")
    finally:
        client.close()


def canary_of_the_hand_made_hello(wrong):
    """The same hello with nothing wrong is refused for want of approval only: so it is well made."""
    refused_hello(wrong, "pending_approval", "handmade")


def canary_of_the_doctor(wrong):
    """Another reason than the true one is found out."""
    machine = wrong.good_agent("healthy")
    machine.wait_said("(pending_approval)", seconds=20)
    wrong.doctor(machine, "pending_approval")
    try:
        wrong.doctor(machine, "expired")
    except Failure:
        return
    raise Failure("doctor agrees to everything")


def version_too_old(wrong):
    refused_hello(wrong, "version", "future", versions=(7, 9))


def claims_to_be_the_parent(wrong):
    refused_hello(wrong, "not_a_parent", "usurper", claim=rogue.PARENT, role=rogue.SERVER)


def another_identity(wrong, label):
    folder = wrong.group.folder / "identities" / label
    folder.mkdir(parents=True)
    return rogue.Identity(folder)


def statement_signed_by_another_key(wrong):
    refused_hello(wrong, "bad_proof", "forger", stated_by=another_identity(wrong, "forger"))


def proof_signed_by_another_key(wrong):
    refused_hello(wrong, "bad_proof", "ghost", proved_by=another_identity(wrong, "ghost"))


def proof_of_another_connection(wrong):
    class Replayed:
        """Signs for a connection that is not this one, as who replays a recorded hello does."""
        def __init__(self):
            self.identity = None

        def sign(self, context, signed):
            return self.identity.sign(context, os.urandom(32) + signed[32:])
    replayed = Replayed()
    replayed.identity = another_identity(wrong, "replayer")
    refused_hello(wrong, "bad_proof", "replayer", proved_by=replayed, spki=replayed.identity.spki,
                  stated_by=replayed.identity)


def statement_of_another_name(wrong):
    refused_hello(wrong, "bad_proof", "renamed", stated_name="a1.dmz.example")


def statement_of_another_tls_key(wrong):
    refused_hello(wrong, "bad_proof", "rekeyed", stated_chain=wrong.good.state / "tls/chain.pem")


def identity_key_that_is_none(wrong):
    refused_hello(wrong, "bad_proof", "keyless", spki=b"\x30\x03abc")


def another_group_root_is_pinned(wrong):
    refused_hello(wrong, "wrong_group", "pinned", stated_group=os.urandom(16))


def name_of_another_than_the_certificate(wrong):
    refused_hello(wrong, "wrong_name", "borrower", claimed_name="a1.dmz.example", stated_name="x.y")


def name_in_capitals_in_the_hello(wrong):
    refused_hello(wrong, "wrong_name", "loud", claimed_name="LOUD.dmz.example")


def role_that_is_none(wrong):
    refused_hello(wrong, "protocol", "jester", role=9)


def another_identity_under_a_known_name(wrong):
    refused_hello(wrong, "clash", "twin", called=wrong.good.name)


def hello_that_cannot_be_read(wrong):
    frame_is_refused(wrong, "mumbler", rogue.frame(rogue.HELLO, b"\x0f" * 40))


def old_tls_only(wrong):
    """TLS 1.2 cannot carry our words: its alert says it, and the gateway's log names the address."""
    mark = wrong.gateway.mark()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["postern/1"])
    with socket.create_connection((wrong.gateway.address, wrong.gateway.port)) as raw:
        local = "%s:%d" % raw.getsockname()
        try:
            context.wrap_socket(raw, server_hostname=wrong.gateway.name).close()
        except ssl.SSLError as error:
            expect("PROTOCOL_VERSION" in str(error).upper().replace(" ", "_"), f"the alert is {error}")
        else:
            raise Failure("a handshake with TLS 1.2 went through")
    wrong.gateway.wait_said(local, mark=mark)


def frame_is_refused(wrong, label, data):
    _, key, chain = wrong.breed(label, lambda our_zoo, name: our_zoo.ours.issue(name))
    mark = wrong.gateway.mark()
    client = rogue.Client(wrong.gateway, key, chain)
    client.send(data)
    reason, words, _ = client.refusal()
    expect(reason == "protocol", f"the refusal is {reason}: {words}")
    wrong.gateway.wait_said("(protocol)", mark=mark)


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
        _, key, chain = wrong.breed("speechless", lambda our_zoo, name: our_zoo.ours.issue(name))
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


SPOKEN_BY_HAND = (
    no_certificate, agent_without_certificate_says_so, canary_of_the_hand_made_hello,
    canary_of_the_doctor, version_too_old, claims_to_be_the_parent,
    statement_signed_by_another_key, proof_signed_by_another_key,
    proof_of_another_connection, statement_of_another_name, statement_of_another_tls_key,
    identity_key_that_is_none, another_group_root_is_pinned, name_of_another_than_the_certificate,
    name_in_capitals_in_the_hello, role_that_is_none, another_identity_under_a_known_name,
    hello_that_cannot_be_read, oversized_frame, garbage_in_the_channel, batch_before_hello,
    garbage_instead_of_tls, other_protocol_by_alpn, old_tls_only)


def test(group):
    wrong = Wrong(group)
    before = applied_count(group, wrong.good)
    channel = wrong.gateway.said("attached from", wrong.good.name)
    agents = (start_agents_from_the_zoo(wrong) + start_children_of_wrong_gateways(wrong) +
              start_others(wrong))
    silent = Silent(wrong)

    for case in SPOKEN_BY_HAND:
        wrong.check(case.__name__.replace("_", " "), lambda case=case: case(wrong))
    for label, what, make in zoo.MALFORMED:
        hand_shown(wrong, label, what, make)
    for label, what, make in zoo.UNUSABLE:
        does_not_start(wrong, label, what, "weak_key", make, "(weak_key)")
    does_not_start(wrong, "keyring", "the key of another certificate", "no_private_key", key_of_another,
                   "key")
    for what, machine, case in agents:
        wrong.check(what, case)
        expect(machine.running, f"{machine.name} has ended:\n{machine.tail()}")
    for case in (silent.silence, silent.half_a_handshake, silent.no_hello):
        wrong.check(case.__name__.replace("_", " "), case)

    waiting = ({f"{kind[0]}.dmz.example" for kind in zoo.TAKEN} |
               {"gwdialler.dmz.example", "handmade.dmz.example", "healthy.dmz.example", wrong.good.name})
    pending = {node["name"] for node in group.ask("pending", "list")["items"]}
    wrong.check("only who has a good certificate is pending", lambda: expect(
        pending == waiting, f"pending are {sorted(pending)}, not {sorted(waiting)}"))
    wrong.check("nobody of them is in the inventory", lambda: expect(
        {n["name"] for n in group.ask("inventory")["items"]} ==
        {group.server.name, wrong.gateway.name, wrong.good.name, "actor.dmz.example", "lost.dmz.example",
         "untrusted.dmz.example"},
        group.postern("inventory").out))

    def others_are_served():
        expect(wrong.gateway.running and group.server.running, "somebody has ended")
        wait_complete(group, wrong.good, at_least=before + 5)
        attached = wrong.gateway.text().count(f"agent {wrong.good.name} attached")
        expect(channel and attached == 1, f"{wrong.good.name} had to attach {attached} times")
    wrong.check("the good agent was served all the time, on one connection", others_are_served)
    print(f"{wrong.cases} cases")
    expect(wrong.cases >= 75, "the zoo has lost some of its kinds")
    if wrong.problems:
        raise Failure(f"{len(wrong.problems)} cases:\n  " + "\n  ".join(wrong.problems))


main(test)
