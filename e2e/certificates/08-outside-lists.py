#!/usr/bin/env python3
"""Revocation lists (CRLs) of an authority whose certificates are issued by openssl: what stands in a
new list is cut off while the gateway runs, a stale list harms nobody unless the settings say so, and
a damaged file brings nobody back."""
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import rogue  # noqa: E402
from postern import IMPORT_TOOL, expect, main  # noqa: E402

CUT_SECONDS_MAX = 5
DROPPED = ("lost the parent", "is gone: ", "refuses", "refused ", "no parent: ")


def import_by_hand(agent, key, chain):
    for old in agent.certificates.glob("*.[kcp]*"):
        old.unlink()
    (agent.certificates / "by-hand.key").write_bytes(pathlib.Path(key).read_bytes())
    (agent.certificates / "by-hand.key").chmod(0o600)
    (agent.certificates / "by-hand.pem").write_bytes(pathlib.Path(chain).read_bytes())
    agent.run(IMPORT_TOOL, "/SubjectName", agent.name, "--state", agent.state)


def restart(machine):
    mark = machine.mark()
    machine.kill()
    machine.start()
    return mark


def test(group):
    server = group.make_server()
    group.start_server()
    gateway = group.add("gw1.dmz.example", "gateway", server, start=False)
    authority = rogue.group_authority(server, group.folder / "outside")
    agents, chains = [], []
    for number in (1, 2):
        agent = group.add(f"a{number}.dmz.example", "agent", gateway, start=False)
        key, chain = authority.issue(agent.name, group.folder / f"issued{number}")
        import_by_hand(agent, key, chain)
        agents.append(agent)
        chains.append(chain)
    bad, good = agents
    settings = chains[0].with_name("openssl.cnf")
    crl = group.folder / "outside.crl"
    authority.revocation_list(settings, crl)
    gateway.set("certificates", f"{{crl: ['{crl}'], stale_crl: warn}}")
    gateway.start()
    gateway.wait_said("0 certificates are revoked by 1 list(s)")
    for agent in agents:
        agent.start()
        agent.wait_said("attached to", seconds=20)

    # ---- A new list, while everything runs
    marks = {machine: machine.mark() for machine in (gateway, *agents)}
    authority.revoke(chains[0], settings)
    authority.revocation_list(settings, crl)
    gateway.wait_said(f"refused {bad.name}", "(revoked)", mark=marks[gateway], seconds=CUT_SECONDS_MAX)
    bad.wait_said("lost the parent", "(revoked)", mark=marks[bad], seconds=CUT_SECONDS_MAX)
    mark = restart(bad)
    bad.wait_said("no parent: ", "(revoked)", mark=mark)
    said = [good.said(words, mark=marks[good]) for words in DROPPED]
    expect(not any(said), f"{good.name} was disturbed: {said}")

    # ---- A damaged one brings nobody back
    mark = gateway.mark()
    whole = crl.read_bytes()
    crl.write_bytes(whole[:len(whole) // 2])
    gateway.wait_said("a revocation list is not taken", "goes on counting", mark=mark)
    mark = restart(bad)
    bad.wait_said("no parent: ", "(revoked)", mark=mark)

    # ---- A stale one is said, and harms nobody unless the settings say so
    mark = gateway.mark()
    authority.revocation_list(settings, crl, seconds=1)
    gateway.wait_said("should have been replaced by", "goes on counting as it is", mark=mark)
    mark = restart(good)
    good.wait_said("attached to", mark=mark, seconds=20)
    mark = restart(bad)
    bad.wait_said("no parent: ", "(revoked)", mark=mark)
    gateway.set("certificates", f"{{crl: ['{crl}'], stale_crl: refuse}}")
    mark = gateway.mark()
    gateway.signal(signal.SIGHUP)
    gateway.wait_said("configuration reloaded", mark=mark)
    mark = restart(good)
    good.wait_said("no parent: ", "should have been replaced by", mark=mark)
    authority.revocation_list(settings, crl)
    good.wait_said("attached to", mark=mark, seconds=60)
    for machine in group.machines:
        expect(not machine.said("invariant"), machine.said("invariant"))


main(test)
