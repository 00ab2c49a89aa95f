#!/usr/bin/env python3
"""Certificates of every wrong kind, made with openssl, in the hands of real agents: the agent, at its
start and when it is refused, and the gateway that refuses it say the same reason; those with nothing
wrong, however unusual, wait for approval."""
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import rogue  # noqa: E402
from postern import Failure, expect, main, poll, wait_complete  # noqa: E402

DAY = 86400
NOT_OURS = "DNS:somebody.dmz.example"
WAITS = "pending_approval"  # nothing is wrong with the certificate


class Zoo:
    def __init__(self, group):
        self.group = group
        group.make_server()
        group.start_server()
        self.gateway = group.add("gw1.dmz.example", "gateway", group.server)
        self.good = group.add("a1.dmz.example", "agent", self.gateway)
        wait_complete(group, self.good, at_least=1)
        self.ours = rogue.group_authority(group.server, group.folder / "our-ca")
        self.kept = []  # (what, reason, machine)

    def agent(self, what, reason, key, chain, name=None, **how):
        machine = self.group.machine(name or f"z{len(self.kept)}.dmz.example", "agent")
        machine.settings([self.gateway])
        rogue.plant(machine, self.good, key, chain, **how)
        self.kept.append((what, reason, machine))
        return machine

    def issued(self, what, reason, authority=None, more=(), name=None, **how):
        """An agent with a certificate by the group's authority or another one; `more`: certificates
        that it sends behind its own."""
        name = name or f"z{len(self.kept)}.dmz.example"
        folder = self.group.folder / "issued" / str(len(self.kept))
        key, chain = (authority or self.ours).issue(name, folder, **how)
        chain.write_text(chain.read_text() + "".join(pathlib.Path(one).read_text() for one in more))
        return self.agent(what, reason, key, chain, name)

    def through(self, what, reason, leaf=(), **how):
        """By an intermediate authority of ours."""
        below = self.ours.authority(self.group.folder / "authorities" / str(len(self.kept)), **how)
        return self.issued(what, reason, below, [below.certificate], **dict(leaf))


def certificates(zoo):
    """What is wrong with the certificate itself."""
    add = zoo.issued
    add("no name but the common name", "wrong_name", subjectAltName=None)
    add("a wildcard", "wrong_name", subjectAltName="DNS:*.dmz.example")
    add("an IP address", "wrong_name", subjectAltName="IP:192.0.2.1")
    add("a URI and a mail address", "wrong_name",
        subjectAltName="URI:https://z.dmz.example/,email:z@dmz.example")
    add("somebody else's name", "wrong_name", subjectAltName=NOT_OURS)
    add("a name with a dot at its end", "wrong_name", name="dotted.dmz.example",
        subjectAltName="DNS:dotted.dmz.example.")
    add("for servers only", "wrong_usage", usage="serverAuth")
    add("for signing code", "wrong_usage", usage="codeSigning")
    add("for mail and time stamps", "wrong_usage", usage="emailProtection,timeStamping")
    add("a key that must not sign", "wrong_usage", keyUsage="critical,keyEncipherment")
    add("a key that only agrees on keys", "wrong_usage", keyUsage="critical,keyAgreement")
    add("expired a day ago", "expired", not_before=-2 * DAY, not_after=-DAY)
    add("expired a minute ago", "expired", not_after=-60)
    add("valid from tomorrow on", "not_yet_valid", not_before=DAY, not_after=2 * DAY)
    add("an authority's own", "bad_certificate", basicConstraints="critical,CA:TRUE",
        keyUsage="critical,digitalSignature,keyCertSign")
    add("a weak RSA key", "bad_certificate", key_of=("rsa:1024",))
    add("signed with SHA-1", "bad_certificate", digest="sha1")
    add("a critical extension that nobody knows", "bad_certificate",
        **{"1.3.6.1.4.1.99999.1": "critical,ASN1:UTF8String:unheard of"})
    add("by another authority", "unknown_ca", rogue.Authority(zoo.group.folder / "other-ca"))
    self_signed(zoo, "it signed itself", "unknown_ca")
    self_signed(zoo, "an authority that signed itself", "bad_certificate",
                basicConstraints="critical,CA:TRUE", keyUsage="critical,digitalSignature,keyCertSign")
    add("by an authority of our authority's name", "unknown_ca", same_name(zoo))


def self_signed(zoo, what, reason, **how):
    name = f"z{len(zoo.kept)}.dmz.example"
    folder = zoo.group.folder / f"self-{name}"
    folder.mkdir()
    key, certificate = folder / "key.pem", folder / "chain.pem"
    extensions = [part for name_of, value in {**rogue.GOOD, "subjectAltName": f"DNS:{name}", **how}.items()
                  for part in ("-addext", f"{name_of}={value}")]
    rogue.run(["openssl", "req", "-x509", "-newkey", *rogue.EC_KEY, "-nodes", "-keyout", key, "-out",
               certificate, "-days", "30", "-subj", f"/CN={name}", "-config", "/dev/null", *extensions])
    key.chmod(0o600)
    zoo.agent(what, reason, key, certificate, name)


def same_name(zoo):
    folder = zoo.group.folder / "same-name"
    subject = rogue.run(["openssl", "x509", "-in", zoo.ours.certificate, "-noout", "-subject", "-nameopt",
                         "sep_multiline,lname"]).out
    common = next(line.split("=", 1)[1].strip() for line in subject.splitlines() if "commonName" in line)
    folder.mkdir()
    key, certificate = folder / "ca.key", folder / "ca.pem"
    rogue.run(["openssl", "req", "-x509", "-newkey", *rogue.EC_KEY, "-nodes", "-keyout", key, "-out",
               certificate, "-days", "30", "-subj", f"/CN={common}", "-addext",
               "keyUsage=critical,keyCertSign,cRLSign"])
    return rogue.Authority(folder / "issues", key, certificate)


def chains(zoo):
    """What is wrong on the way to the anchor."""
    zoo.through("an expired intermediate", "expired", not_before=-2 * DAY, not_after=-60)
    zoo.through("an intermediate from tomorrow on", "not_yet_valid", not_before=DAY, not_after=2 * DAY)
    zoo.through("an intermediate that is no authority", "bad_certificate",
                basicConstraints="critical,CA:FALSE")
    zoo.through("an intermediate that may not sign certificates", "bad_certificate",
                keyUsage="critical,digitalSignature")
    zoo.through("an intermediate for other names", "bad_certificate",
                nameConstraints="critical,permitted;DNS:elsewhere.example")
    zoo.through("an intermediate with a weak key", "bad_certificate", key_of=("rsa:1024",))
    zoo.through("an intermediate that is signed with SHA-1", "bad_certificate", digest="sha1")
    below = zoo.ours.authority(zoo.group.folder / "deep", "Deep CA")
    deeper = below.authority(zoo.group.folder / "deeper", "Deeper CA")
    deepest = deeper.authority(zoo.group.folder / "deepest", "Deepest CA")
    zoo.issued("a missing intermediate", "unknown_ca", below)
    zoo.issued("the wrong intermediate", "unknown_ca", below, [deeper.certificate])
    zoo.issued("more intermediates than the authority allows", "bad_certificate", deepest,
               [deepest.certificate, deeper.certificate, below.certificate])


def unusual(zoo):
    """Nothing is wrong with these: canaries of all above."""
    zoo.issued("made as the others are", WAITS)
    zoo.issued("a name in capitals", WAITS, name="loud.dmz.example", subjectAltName="DNS:LOUD.DMZ.example")
    zoo.issued("the second of three names", WAITS, name="second.dmz.example",
               subjectAltName=f"{NOT_OURS},DNS:second.dmz.example,IP:192.0.2.9")
    zoo.issued("RSA with 4096 bits", WAITS, key_of=("rsa:4096",))
    zoo.issued("RSA for key exchange too, as enterprise templates have it", WAITS, key_of=("rsa:2048",),
               keyUsage="critical,digitalSignature,keyEncipherment")
    zoo.issued("Ed25519", WAITS, key_of=("ed25519",))
    zoo.issued("P-384, signed with SHA-512", WAITS, key_of=("ec", "-pkeyopt", "ec_paramgen_curve:P-384"),
               digest="sha512")
    zoo.issued("more usages than two", WAITS, usage="serverAuth,clientAuth,emailProtection")
    zoo.issued("for clients only, which is all that an agent is", WAITS, usage="clientAuth")
    zoo.issued("no usages at all", WAITS, extendedKeyUsage=None, keyUsage=None)
    zoo.through("a good intermediate", WAITS)
    below = zoo.ours.authority(zoo.group.folder / "shuffled")
    zoo.issued("a chain with its root and a stranger in it", WAITS, below,
               [zoo.ours.certificate, rogue.Authority(zoo.group.folder / "stranger").certificate,
                below.certificate])


def members(zoo):
    """A good certificate, and something wrong with whose it is."""
    group = zoo.group
    removed = zoo.issued("a removed node", "removed")
    group.postern("agent", "approve", removed.name)
    removed.start().wait_said("attached to", seconds=20)
    group.postern("agent", "remove", removed.name)
    rejected = zoo.issued("a rejected node", "rejected")
    rejected.start()
    poll("it knocks", lambda: group.postern("pending", "reject", rejected.name, status=None).status == 0)
    other_role = zoo.issued("approved as a gateway", "wrong_role")
    zoo.group.approve_gateway(other_role, group.server)
    elsewhere = zoo.issued("approved for another parent", "wrong_parent")
    group.postern("agent", "approve", elsewhere.name, "--parent", group.server.name)
    again = zoo.issued("a known name with another identity", "clash")
    group.postern("agent", "approve", again.name)
    again.start().wait_said("attached to", seconds=20)
    again.stop()
    for path in again.state.iterdir():
        if path.name not in ("tls", "anchors.pem", "group.pem"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    loop = zoo.issued("the gateway's own state folder, copied", "loop", name="copy.dmz.example")
    shutil.copyfile(zoo.gateway.state / "identity.key", loop.state / "identity.key")
    (loop.state / "identity.key").chmod(0o600)
    rooted = zoo.issued("pinned to another group's root", "wrong_group")
    public = group.folder / "other-root.pem"
    key = group.folder / "other-root.key"
    rogue.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key])
    rogue.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public])
    shutil.copyfile(public, rooted.state / "group.pem")


# What the agent says of its own certificate at its start, in the words of `postern cert import`.
OWN_WORDS = {"issuer_expired": "expired", "issuer_not_yet_valid": "not_yet_valid", "bad_chain": "bad_certificate",
             "weak_key": "bad_certificate", "weak_signature": "bad_certificate",
             "not_an_end_entity": "bad_certificate"}


def same_reason(zoo, what, reason, machine, of_certificate):
    gateway = zoo.gateway
    ours = machine.wait_said(f"{gateway.name} refuses this node", f"({reason}", seconds=20)
    theirs = gateway.wait_said("refused", machine.name, f"({reason}")
    own = machine.said("own certificate will be refused")
    if of_certificate and reason != WAITS:
        expect(own, "the agent finds nothing wrong with its certificate")
        word = own.rsplit("(", 1)[1].rstrip(")")
        expect(OWN_WORDS.get(word, word) == reason, f"the agent says of itself: {own}")
    else:
        expect(not own, f"the agent says of itself: {own}")
    print(f"  {what}: {reason}\n    {ours[ours.index(gateway.name):][:200]}\n    {theirs[theirs.index('refused'):][:200]}")


def test(group):
    zoo = Zoo(group)
    for build in (certificates, chains, unusual):
        build(zoo)
    of_certificates = len(zoo.kept)
    members(zoo)
    for _, _, machine in zoo.kept:
        if not machine.running:
            machine.start()
    problems = []
    for at, (what, reason, machine) in enumerate(zoo.kept):
        try:
            same_reason(zoo, what, reason, machine, at < of_certificates)
        except Failure as failure:
            problems.append(f"{what}: {failure}")
            print(f"  {what}: WRONG: {str(failure)[:600]}")
    wait_complete(group, zoo.good, at_least=3)
    attached = zoo.gateway.text().count(f"agent {zoo.good.name} attached")
    if attached != 1:
        problems.append(f"{zoo.good.name} had to attach {attached} times")
    refused = sum(reason != WAITS for _, reason, _ in zoo.kept)
    print(f"{refused} wrong ones, each with its reason on both sides; {len(zoo.kept) - refused} unusual ones wait")
    if problems:
        raise Failure(f"{len(problems)} cases:\n  " + "\n  ".join(problems))


main(test)
