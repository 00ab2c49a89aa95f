#!/usr/bin/env python3
"""Certificates of an outside CA (`openssl ca`): a chain of two intermediates, and RSA 4096 as a Windows
template issues it. The nodes take them, and the data arrives; a command fetches the next one."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import zoo  # noqa: E402
from postern import IMPORT_TOOL, expect, expect_in, main, run, wait_complete  # noqa: E402

# What a template of Active Directory Certificate Services adds: its own number, the usages once
# more as application policies, two usages nobody asked for.
WINDOWS = {
    "keyUsage": "critical,digitalSignature,keyEncipherment",
    "extendedKeyUsage": "serverAuth,clientAuth,1.3.6.1.4.1.311.10.3.4,1.3.6.1.5.5.7.3.21",
    "oid_1_3_6_1_4_1_311_21_7": "DER:" + zoo.der(0x30, bytes.fromhex(
        "06 0a 2b 06 01 04 01 82 37 15 08 01 02 01 64 02 01 03")).hex(),
    "oid_1_3_6_1_4_1_311_21_10": "DER:" + zoo.der(0x30, b"".join(
        zoo.der(0x30, bytes.fromhex(usage)) for usage in ("06082b06010505070301", "06082b06010505070302"))).hex(),
}


def install(group, machine, key, chain, password=None):
    """From a PKCS#12 file when there is a password."""
    group.carry(group.server, key, machine, machine.certificates / "node.key")
    (machine.certificates / "node.key").chmod(0o600)
    group.carry(group.server, chain, machine, machine.certificates / "node.pem")
    group.postern("group", "export", machine.certificates / "group.postern")
    words = ()
    if password:
        container, secret = machine.certificates / "node.pfx", machine.certificates / "secret"
        run(["openssl", "pkcs12", "-export", "-inkey", key, "-in", chain, "-passout", f"pass:{password}",
             "-out", container])
        secret.write_text(password)
        secret.chmod(0o600)
        for file in ("node.key", "node.pem"):
            (machine.certificates / file).unlink()
        words = (container, "--password-file", secret)
    done = machine.run(IMPORT_TOOL, *words, "/SubjectName", machine.name, "--state", machine.state)
    expect_in("was imported successfully", done.out, machine.name)


HOOK = """#!/bin/sh
set -e
echo "for $POSTERN_NAME, $POSTERN_ROLE in $POSTERN_STATE, until $POSTERN_NOT_AFTER, with $1"
cp '{key}' "$POSTERN_CERTIFICATES_FOLDER/next.key"
chmod 0600 "$POSTERN_CERTIFICATES_FOLDER/next.key"
cp '{chain}' "$POSTERN_CERTIFICATES_FOLDER/next.pem"
"""


def renewed_by_a_hook(group, gateway, site):
    """Most of its certificate's life is over, and nobody has renewed it."""
    agent = group.machine("hooked.dmz.example", "agent")
    agent.settings([gateway])
    install(group, agent, *site.issue(agent.name, not_before=-8 * zoo.DAY, not_after=2 * zoo.DAY))
    group.postern("agent", "approve", agent.name, "--parent", gateway.name)
    key, chain = site.issue(agent.name, not_after=9 * zoo.DAY)
    folder, hook = agent.folder / "renewed", agent.folder / "fetch it"
    folder.mkdir()
    hook.write_text(HOOK.format(key=key, chain=chain))
    hook.chmod(0o775)
    agent.set("certificates", f"{{hook: ['{hook}', 'two words'], folder: '{folder}'}}")
    found = agent.run("postern-agent", "check-config", "--config", agent.config, status=1)
    expect_in("has mode 0775: others may write there", found.err, "check-config")
    hook.chmod(0o755)
    agent.run("postern-agent", "check-config", "--config", agent.config)
    agent.start()
    agent.wait_said("certificates.hook: for", agent.name, f"agent in {agent.state}", "with two words",
                    seconds=30)
    agent.wait_said("is used from now on", seconds=30)
    expect((agent.state / "tls/chain.pem").read_text() == chain.read_text(), "another one is used")
    wait_complete(group, agent)
    expect(not agent.said("lost the parent"), f"the channel was dropped:\n{agent.text()}")


def test(group):
    outside = zoo.Issuer.root(group.folder / "outside", "/O=Corp/CN=Corp Root CA")
    site = outside.intermediate("Corp Policy CA").intermediate("Corp Issuing CA")
    server = group.make_server()
    # The group trusts both from now on.
    with open(server.state / "anchors.pem", "a", encoding="ascii") as anchors:
        anchors.write(outside.certificate.read_text())
    group.start_server()
    gateway = group.machine("gw1.dmz.example", "gateway")
    gateway.settings([server])
    install(group, gateway, *site.issue(gateway.name, key="rsa:4096", **WINDOWS), password="Geheim 12")
    expect((gateway.state / "tls/chain.pem").read_text().count("BEGIN CERTIFICATE") == 3, "both intermediates")
    group.approve_gateway(gateway, server)
    gateway.start()
    agents = []
    for name, how in (("windows.dmz.example", {"key": "rsa:4096", **WINDOWS}), ("plain.dmz.example", {})):
        agent = group.machine(name, "agent")
        agent.settings([gateway])
        install(group, agent, *site.issue(name, **how))
        group.postern("agent", "approve", name, "--parent", gateway.name)
        agents.append(agent.start())
    agents.append(group.add("ours.dmz.example", "agent", gateway))
    for agent in agents:
        wait_complete(group, agent)
    server.wait_said(gateway.name, "attached")
    renewed_by_a_hook(group, gateway, site)


main(test)
