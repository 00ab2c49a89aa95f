#!/usr/bin/env python3
"""The built-in authority's root goes into a safe: an issuing one signs in its place, the next one is made
from the file, what was signed by those before it goes on renewing (docs/operating/certificates.md)."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import rogue  # noqa: E402
from postern import expect, expect_in, main, poll, run, wait_complete  # noqa: E402

ROOT = "E2E Postern CA"


def issuer_of(machine):
    line = run(["openssl", "x509", "-in", machine.state / "tls/chain.pem", "-noout", "-issuer"]).out
    return line.split("CN = ", 1)[1].strip()


def certificates_in(file):
    return file.read_text().count("BEGIN CERTIFICATE")


def as_made_before(group, server):
    """By a version without issuing authorities: the root signed the server's certificate itself."""
    (server.state / "issuing.pem").unlink()
    key, chain = rogue.group_authority(server, group.folder / "root").issue(server.name, group.folder / "own")
    (server.state / "tls/key.pem").write_bytes(key.read_bytes())
    (server.state / "tls/chain.pem").write_bytes(chain.read_bytes())


def renewed_by_another(group, machines, before):
    for machine in machines:
        poll(f"{machine.name} renews under the next one", lambda machine=machine: issuer_of(machine) not in before, 40)
    for machine in machines[1:]:
        attached = machines[0].text().count(f"agent {machine.name} attached")
        expect(attached == 1, f"{machine.name} attached {attached} times")
    return {issuer_of(machine) for machine in machines}


def test(group):
    server = group.make_server()
    expect(certificates_in(server.state / "anchors.pem") == 1, "the root alone is the anchor")
    expect(certificates_in(server.state / "tls/chain.pem") == 2, "the issuing one is shown")
    expect(issuer_of(server) != ROOT, "the root signed by itself")
    as_made_before(group, server)
    server.set("certificates", "{lifetime: 20s, expiry_grace: 0s}")
    group.start_server()

    def ca(*words, status=0):
        return server.run("postern-server", "ca", *words, "--state", server.state, status=status).text
    expect_in("the root itself", ca("show"), "show")
    gateway = group.add("gw1.dmz.example", "gateway", server)
    agent = group.add("a1.dmz.example", "agent", gateway)
    wait_complete(group, agent)
    expect(issuer_of(agent) == ROOT, f"signed by {issuer_of(agent)}")

    phrase, wrong, safe = (group.folder / name for name in ("phrase", "wrong", "safe.pem"))
    phrase.write_text("correct horse battery\n")
    wrong.write_text("wrong horse battery\n")
    wrong.chmod(0o600)
    phrase.chmod(0o644)
    expect_in("chmod 600", ca("export", safe, "--passphrase-file", phrase, status=1), "a passphrase for all to see")
    phrase.chmod(0o600)
    expect_in("issue-intermediate", ca("export", safe, "--passphrase-file", phrase, "--remove", status=1),
              "a key that is needed")
    expect(not safe.exists(), "a refused export left its file")
    ca("issue-intermediate")
    first = renewed_by_another(group, [gateway, agent], {ROOT})

    expect_in("not on this server", ca("export", safe, "--passphrase-file", phrase, "--remove"), "export")
    expect(not (server.state / "ca.key").exists() and safe.stat().st_mode & 0o777 == 0o600, "the key is away")
    expect_in("its key is not on this server", ca("show"), "show")
    run(["openssl", "pkey", "-in", safe, "-passin", f"file:{phrase}", "-noout"])
    expect_in("ca export", ca("issue-intermediate", status=1), "without the root")
    expect_in("passphrase", ca("issue-intermediate", "--root", safe, "--passphrase-file", wrong, status=1),
              "another passphrase")
    ca("issue-intermediate", "--root", safe, "--passphrase-file", phrase)
    newcomer = group.add("a2.dmz.example", "agent", gateway)
    renewed_by_another(group, [gateway, agent, newcomer], {ROOT, *first})
    wait_complete(group, newcomer)
    ca("import", safe, "--passphrase-file", phrase)
    expect((server.state / "ca.key").stat().st_mode & 0o777 == 0o600, "the key is back")


main(test)
