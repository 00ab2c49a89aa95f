#!/usr/bin/env python3
"""Whatever is wrong between a node and its parent, `postern doctor` names the first thing that is, with
the word that stands in the log of the side that refuses, and disturbs nobody who works."""
import os
import pathlib
import re
import shutil
import ssl
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import doctor as tool  # noqa: E402
import rogue  # noqa: E402
import zoo  # noqa: E402
from postern import ROOT, Failure, expect, expect_in, main, poll, run, wait_complete  # noqa: E402


class Ward:
    """gw1 reports to the server, a1 to gw1; each case has an agent of its own."""

    def __init__(self, group):
        self.group, self.problems, self.cases = group, [], 0
        group.make_server()
        group.start_server()
        self.gateway = group.add("gw1.dmz.example", "gateway", group.server)
        self.good = group.add("a1.dmz.example", "agent", self.gateway)
        wait_complete(group, self.good)
        self.zoo = zoo.Zoo(group.folder / "zoo", group.server)

    def check(self, test):
        self.cases += 1
        what = test.__name__.replace("_", " ")
        try:
            test(self)
            print(f"  {what}: as it should be")
        except (Failure, OSError) as failure:
            self.problems.append(f"{what}: {failure}")
            print(f"  {what}: WRONG: {failure}")

    def agent(self, label, make=None, parents=None, **settings):
        """Set up as if it had run: with an identity, and not running."""
        name = f"{label}.dmz.example"
        key, chain = (make or (lambda our_zoo, n: our_zoo.ours.issue(n)))(self.zoo, name)
        machine = self.group.machine(name, "agent")
        machine.settings([self.gateway], interval="1m", **settings)
        if parents:
            machine.set("parents", parents)
        rogue.plant(machine, self.good, key, chain)
        run(["openssl", "genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-out", machine.state / "identity.key"])
        (machine.state / "identity.key").chmod(0o600)
        (machine.state / "incarnation").write_bytes(b"\x01" * 8)
        return machine

    def at(self, label, where, **how):
        """An agent whose parent gw1 is said to be at `where`."""
        return self.agent(label, parents=f"[{{name: {self.gateway.name}, address: '{where}'}}]", **how)

    def stranger(self, serve):
        return tool.Stranger(self.gateway.address, serve)

    def behind(self, label, serve):
        """What doctor says of an agent that meets a stranger in gw1's place."""
        stranger = self.stranger(serve)
        try:
            return tool.doctor(self.at(label, f"{stranger.address}:{stranger.port}"), "--timeout", "2s")
        finally:
            stranger.close()

    def agree(self, diagnosis, reason, log, *parts, mark=0, seconds=15):
        """Doctor's conclusion and the line in the other side's log have the same reason. The alert that
        doctor sees leaves the other side before the line is written."""
        got = diagnosis.conclusion["reason"]
        expect(got == reason, f"doctor concludes {got}, not {reason}:\n{diagnosis}")
        print(f"    {log.name}: {log.wait_said(f'({reason}', *parts, mark=mark, seconds=seconds)}")


def a_running_agent_is_well_and_stays_attached(ward):
    mark, own = ward.gateway.mark(), ward.good.mark()
    found = tool.doctor(ward.good).concludes("", "ok", status=0)
    tool.check_form(found, parents=1)
    for step in ("own_certificate_at_parent", "clock", "approval", "group", "version"):
        found.found(step)
    expect(not ward.gateway.said(ward.good.name, mark=mark), "the gateway noticed something: " +
           ward.gateway.since(mark))
    page = (ROOT / "docs/operating/doctor.md").read_text()
    for step in tool.OWN_STEPS + tool.PARENT_STEPS:
        expect_in(f"`{step}`", page, "docs/operating/doctor.md")
    expect(not ward.good.said("parent", mark=own), "the agent noticed something: " + ward.good.since(own))


def a_running_gateway_and_the_server_are_well(ward):
    for machine in (ward.gateway, ward.group.server):
        found = tool.doctor(machine)
        expect(found.status == 0, str(found))
        found.found("program")


def a_stopped_agent_is_welcome_and_comes_back(ward):
    agent = ward.group.add("a2.dmz.example", "agent", ward.gateway)
    agent.wait_said("attached to")
    agent.stop()
    before = (agent.state / "incarnation").read_bytes()
    found = tool.doctor(agent).concludes("program", "not_running", status=0)
    tool.check_form(found, parents=1)
    expect_in("ms.home.example", found.found("approval")["words"], "the way to the server")
    expect((agent.state / "incarnation").read_bytes() == before, "it has changed the state folder")
    mark = agent.mark()
    agent.start()
    agent.wait_said("attached to", mark=mark)
    wait_complete(ward.group, agent)


def nobody_listens(ward):
    agent = ward.at("closed", f"{ward.gateway.address}:9")
    found = tool.doctor(agent).concludes("connect", "connection_refused")
    found.found("tls", "not_reached")
    tool.check_form(found, parents=1)


def a_firewall_drops(ward):
    agent = ward.at("dropped", f"{ward.gateway.address}:5723")
    inside = ["unshare", "--net", "sh", "-ec",
              "ip link set lo up; nft 'add table ip t; add chain ip t i {type filter hook input "
              "priority 0;}; add rule ip t i tcp dport 5723 drop'; exec \"$@\"", "sh"]
    agent.prefix = tuple(inside)
    tool.doctor(agent, "--timeout", "1s").concludes("connect", "connect_timed_out")


def there_is_no_route(ward):
    agent = ward.at("lost", "203.0.113.1:5723")
    agent.prefix = ("unshare", "--net")
    tool.doctor(agent, "--timeout", "2s").concludes("connect", "unreachable")


def the_parents_name_is_unknown(ward):
    agent = ward.agent("nameless", parents="[gw1.dmz.invalid]")
    agent.prefix = ("unshare", "--net")  # without a name server that would take its time
    tool.doctor(agent, "--timeout", "2s").concludes("parent_resolution", "not_resolved")


def the_parent_has_another_name(ward):
    where = f"{ward.gateway.address}:{ward.gateway.port}"
    agent = ward.agent("misled", parents=f"[{{name: gw9.dmz.example, address: '{where}'}}]")
    mark = ward.gateway.mark()
    found = tool.doctor(agent).concludes("parent_certificate.name", "wrong_name")
    found.found("interception")
    ward.gateway.wait_said(agent.name, "refuses us", "(wrong_name;", mark=mark)


def the_own_certificate_has_expired(ward):
    agent = ward.agent("late", lambda our_zoo, n: our_zoo.ours.issue(
        n, not_before=-2 * zoo.DAY, not_after=-zoo.DAY))
    mark = ward.gateway.mark()
    found = tool.doctor(agent).concludes("own_certificate.validity", "expired")
    found.found("own_certificate_at_parent", "fail", "expired")
    ward.agree(found, "expired", ward.gateway, "refused", agent.name, mark=mark)


def canary_of_the_comparison(ward):
    """Doctor and log that do not name the same reason are found out."""
    agent = ward.agent("canary", lambda our_zoo, n: our_zoo.ours.issue(n, key="rsa:1024"))
    mark = ward.gateway.mark()
    found = tool.doctor(agent).concludes("own_certificate.key_strength", "weak_key")
    ward.agree(found, "weak_key", ward.gateway, agent.name, mark=mark)
    for wrong in (lambda: ward.agree(found, "expired", ward.gateway, agent.name, mark=mark, seconds=0),
                  lambda: ward.agree(found, "weak_key", ward.group.server, agent.name, seconds=0),
                  lambda: found.concludes("own_certificate.validity", "weak_key")):
        try:
            wrong()
        except Failure:
            continue
        raise Failure("a comparison that must fail went through")


def a_proxy_shows_a_certificate_of_its_own(ward):
    key, chain = ward.zoo.other.issue(ward.gateway.name)
    found = ward.behind("watched", tool.tls_peer(key, chain)).concludes("interception", "unknown_ca")
    found.found("parent_certificate.issuer", "fail", "unknown_ca")
    found.found("parent_certificate.name")


def a_proxy_without_the_channel(ward):
    key, chain = ward.zoo.ours.issue(ward.gateway.name)
    ward.behind("webbed", tool.tls_peer(key, chain, protocols=())).concludes("interception", "no_protocol")


def a_proxy_with_an_old_tls(ward):
    key, chain = ward.zoo.other.issue(ward.gateway.name)
    ward.behind("aged", tool.tls_peer(key, chain, versions=(ssl.TLSVersion.TLSv1_2,) * 2)).concludes(
        "tls", "tls_version")


def a_plain_http_proxy(ward):
    ward.behind("proxied", tool.http_proxy).concludes("interception", "http_answer")


def another_program_on_the_port(ward):
    ward.behind("mailed", tool.mail_server).concludes("interception", "not_tls")


def something_swallows_tls(ward):
    ward.behind("swallowed", tool.drain).concludes("tls", "tls_timed_out")


def something_hangs_up(ward):
    ward.behind("cut", lambda connection: None).concludes("tls", "hung_up")


def not_approved_yet(ward):
    agent = ward.agent("waiting")
    mark = ward.gateway.mark()
    found = tool.doctor(agent).concludes("approval", "pending_approval")
    found.found("own_certificate_at_parent")
    ward.agree(found, "pending_approval", ward.gateway, "refused", agent.name, mark=mark)
    expect_in(f"postern pending approve {agent.name}", found.conclusion["fix"], "the fix")
    # The same from the program that was refused itself.
    agent.start()
    agent.wait_said("refuses this node", "(pending_approval)")
    poll("it says so of itself", lambda: tool.doctor(agent).conclusion["reason"] == "pending_approval")
    # The command that was named mends it.
    ward.group.postern(*found.conclusion["fix"].split("run: postern ")[1].split())
    agent.wait_said("attached to", seconds=60)
    tool.doctor(agent).concludes("", "ok", status=0)


def removed(ward):
    agent = ward.group.add("leaver.dmz.example", "agent", ward.gateway)
    agent.wait_said("attached to")
    ward.group.postern("agent", "remove", agent.name)
    ward.gateway.wait_said("(removed)", agent.name)
    found = poll("it says so", lambda: (lambda d: d if d.status else None)(tool.doctor(agent)))
    found.concludes("approval", "removed")
    agent.stop()
    ward.agree(tool.doctor(agent).concludes("approval", "removed"), "removed", ward.gateway, agent.name)


def of_another_group(ward):
    agent = ward.agent("alien", group="ELSEWHERE")
    mark = ward.gateway.mark()
    found = tool.doctor(agent).concludes("group", "wrong_group")
    ward.agree(found, "wrong_group", ward.gateway, "refused", agent.name, mark=mark)


def another_machine_has_the_name(ward):
    agent = ward.agent("twin", lambda our_zoo, n: our_zoo.ours.issue(ward.good.name))
    agent.set("name", ward.good.name)
    mark = ward.gateway.mark()
    found = tool.doctor(agent).concludes("approval", "clash")
    ward.agree(found, "clash", ward.gateway, "refused", ward.good.name, mark=mark)


def the_clock_is_off(ward):
    key, chain = ward.zoo.ours.issue(ward.gateway.name)
    stranger = ward.stranger(tool.tls_peer(key, chain, clock_ahead=600))
    agent = ward.at("early", f"{stranger.address}:{stranger.port}")
    # Whoever runs says no hello: the clock shows by HTTP.
    agent.start()
    agent.wait_said("no parent", seconds=40)
    found = tool.doctor(agent, "--timeout", "2s")
    stranger.close()
    agent.stop()
    seconds = re.search(r"(\d+) s ahead", found.found("clock", "warning", "clock_off")["words"])
    expect(seconds and 595 <= int(seconds[1]) <= 605, f"the difference: {found.step('clock')}")


def the_key_can_be_read_by_others(ward):
    agent = ward.agent("careless")
    (agent.state / "tls/key.pem").chmod(0o644)
    found = tool.doctor(agent).concludes("own_certificate.key_permissions", "unsafe_permissions")
    # The command that was named mends it.
    agent.run("sh", "-c", found.conclusion["fix"].removeprefix("run: "))
    expect(tool.doctor(agent).conclusion["reason"] == "pending_approval", "it is not mended")


def the_disk_is_full(ward):
    agent = ward.agent("full")
    ward.group.postern("agent", "approve", agent.name, "--parent", ward.gateway.name)
    saved = ward.group.folder / "full.saved"
    agent.state.rename(saved)
    agent.state.mkdir(mode=0o700)
    run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "none", agent.state])
    try:
        run(["cp", "-a", f"{saved}/.", agent.state])
        tool.doctor(agent).found("room", "warning", "disk_smaller_than_limit")
        run(["sh", "-c", f"head -c 32M /dev/zero > {agent.state}/filler || true"])
        tool.doctor(agent).concludes("room", "disk_full")
    finally:
        run(["umount", agent.state])


def nothing_is_set_up_yet(ward):
    bare = ward.group.machine("bare.dmz.example", "agent")
    tool.doctor(bare).concludes("configuration", "bad_configuration")
    done = bare.run("postern", "--output", "json", "doctor", "--state", bare.folder / "nowhere",
                    "--role", "agent", status=None)
    tool.Diagnosis(done).concludes("state_folder", "no_state_folder")


def one_parent_by_name(ward):
    where = f"{ward.gateway.address}:{ward.gateway.port}"
    agent = ward.agent("chooser", parents=f"[{{name: gw1.dmz.example, address: '{where}'}}, "
                       f"{{name: gw2.dmz.example, address: '{ward.gateway.address}:9'}}]")
    ward.group.postern("agent", "approve", agent.name, "--parent", ward.gateway.name)
    both = tool.doctor(agent).concludes("connect", "connection_refused")
    tool.check_form(both, parents=2)
    found = tool.doctor(agent, "--to", f"gw1.dmz.example:{ward.gateway.port}")
    expect(found.status == 0, str(found))
    tool.check_form(found, parents=1)


def people_read_one_sentence_at_the_end(ward):
    agent = ward.at("reader", f"{ward.gateway.address}:9")
    done = agent.run("postern", "doctor", "--config", agent.config, status=1, env={"COLUMNS": "1000"})
    last = done.out.rstrip().splitlines()[-1]
    expect(last.startswith("The first thing that is wrong: gw1.dmz.example at ") and last.endswith("."), last)
    expect_in("systemctl status", last, "the last line")
    expect_in("FAIL         connect ", done.out, "the table")
    expect_in("not reached  tls ", done.out, "the table")


def a_good_certificate_is_verified_with_its_peer(ward):
    """Before it is installed: the parent takes it, and is taken."""
    key, chain = ward.zoo.ours.issue("new.dmz.example")
    where = f"{ward.gateway.name}={ward.gateway.address}:{ward.gateway.port}"
    done = ward.good.run("postern", "cert", "verify", "--name", "new.dmz.example", "--key", key, "--anchors",
                         ward.good.state / "anchors.pem", "--peer", where, chain)
    expect_in(f"handshake with {ward.gateway.name}", done.out, "the report")
    expect_in("pass         own_certificate_at_parent", done.out, "the parent's view")
    expect_in("It passes", done.out, "the verdict")


def wrong_usage_is_two(ward):
    for arguments in (["--to", "127.0.0.1"], ["--timeout", "soon"], ["--role", "king"],
                      ["--config", "/etc/postern/who.yaml"], ["gw1.dmz.example"]):
        ward.good.run("postern", "doctor", *arguments, status=2)


CASES = (
    a_running_agent_is_well_and_stays_attached, a_running_gateway_and_the_server_are_well,
    a_stopped_agent_is_welcome_and_comes_back, nobody_listens, a_firewall_drops, there_is_no_route,
    the_parents_name_is_unknown, the_parent_has_another_name, the_own_certificate_has_expired,
    canary_of_the_comparison, a_proxy_shows_a_certificate_of_its_own, a_proxy_without_the_channel,
    a_proxy_with_an_old_tls, a_plain_http_proxy, another_program_on_the_port, something_swallows_tls,
    something_hangs_up, not_approved_yet, removed, of_another_group, another_machine_has_the_name,
    the_clock_is_off, the_key_can_be_read_by_others, the_disk_is_full, nothing_is_set_up_yet,
    one_parent_by_name, a_good_certificate_is_verified_with_its_peer,
    people_read_one_sentence_at_the_end, wrong_usage_is_two)
# With networks or disks of their own.
FOR_ROOT = (a_firewall_drops, there_is_no_route, the_parents_name_is_unknown, the_disk_is_full)


def test(group):
    ward = Ward(group)
    mark = ward.gateway.mark()
    able = os.geteuid() == 0 and shutil.which("nft")
    for case in CASES:
        if able or case not in FOR_ROOT:
            ward.check(case)
        else:
            print(f"  {case.__name__}: left out, it needs root and nft")
    # Nobody who works was disturbed by any of it.
    expect(not ward.gateway.said(f"{ward.good.name} at", "gone", mark=mark), "the good agent was cut off")
    wait_complete(group, ward.good)
    print(f"{ward.cases} cases")
    expect(not ward.problems, f"{len(ward.problems)} of {ward.cases} cases:\n  " + "\n  ".join(ward.problems))


main(test)
