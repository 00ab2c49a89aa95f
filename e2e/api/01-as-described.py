#!/usr/bin/env python3
"""The API over both of its doors, against its own description and clients that are not ours."""
import json
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from openapi import Description  # noqa: E402
from postern import Failure, expect, expect_in, main, poll, run, wait_complete  # noqa: E402


class Api:
    """curl, over the Unix socket or over HTTPS with a token; every answer is held against the
    description."""

    def __init__(self, server, description=None, token=None, ca=None):
        self.description = description
        if token is None:
            self.base = ["curl", "-sS", "--unix-socket", server.state / "api.sock"]
            self.url = "http://localhost"
        else:
            self.base = ["curl", "-sS", "--cacert", ca, "--resolve",
                         f"{server.name}:{server.port}:{server.address}",
                         "-H", f"Authorization: Bearer {token}"]
            self.url = f"https://{server.name}:{server.port}"

    def ask(self, method, target, status=200, body=None, headers=()):
        command = [*self.base, "-X", method, "-o", "-", "-w", "\n%{http_code} %header{etag} %{content_type}"]
        if body is not None:
            command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        for header in headers:
            command += ["-H", header]
        done = run([*command, self.url + target])
        text, _, last = done.out.rpartition("\n")
        code, tag, media = last.split(" ", 2)
        if self.description and int(code) != 304:
            self.description.check(method, target, int(code), media, text)
        expect(int(code) == status, f"{method} {target}: {code} instead of {status}: {text}")
        self.tag = tag
        return json.loads(text) if "json" in media else text


def every_operation(api, group, agent):
    """Each operation of the description, with its refusals."""
    ask = api.ask
    for path in ("gateways", "agents", "nodes", "pending", "topology", "servers", "audit", "losses",
                 "alerts", "certificates", "group", "group/file", "join-tokens", "tokens",
                 "openapi.yaml",
                 f"agents/{agent.name}", f"nodes/{agent.name}", f"nodes/{agent.name}/approval",
                 f"nodes/{agent.name}/inventory", f"nodes/{agent.name}/series", f"nodes/{agent.name}/events"):
        ask("GET", f"/api/v1/{path}")
        ask("GET", f"/api/v1/{path}?colour=red", 400)
    used = ask("GET", f"/api/v1/nodes/{agent.name}/series?metric=system.memory.usage&limit=1")
    expect(used["items"][0]["unit"] == "By" and used["next"], f"a page of one value: {used}")
    expect("host" in [one["type"] for one in ask("GET", f"/api/v1/nodes/{agent.name}/inventory")["items"]],
           "the host is part of the inventory")
    ask("GET", f"/api/v1/nodes/{agent.name}/events?severity=warn&contains=x&until=2026-01-31T08:15:00Z")
    ask("GET", f"/api/v1/nodes/{agent.name}/series?cursor=00", 400)
    ask("GET", "/api/v1/nodes?role=agent&limit=1&name=*.example&connected=true")
    ask("GET", "/api/v1/nodes?limit=0", 400)
    ask("GET", f"/api/v1/gateways/{agent.name}", 404)
    ask("GET", f"/api/v1/servers/{group.server.name}")
    ask("GET", f"/api/v1/servers/{agent.name}", 404)
    gateway = {"name": "gw9.dmz.example", "parents": [group.server.name]}
    ask("POST", "/api/v1/gateways", 201, gateway)
    ask("POST", "/api/v1/gateways", 200, gateway)
    ask("POST", "/api/v1/gateways", 501, {**gateway, "name": "gw8.dmz.example", "direction": "parent-dials"})
    ask("POST", "/api/v1/gateways", 422, {"name": "gw7.dmz.example", "parents": ["nobody.example"]})
    ask("GET", "/api/v1/gateways/gw9.dmz.example")
    ask("POST", "/api/v1/nodes/gw9.dmz.example/trace", 409)
    ask("POST", "/api/v1/nodes/gw9.dmz.example/renewal", 409)
    ask("DELETE", "/api/v1/gateways/gw9.dmz.example")
    ask("DELETE", "/api/v1/gateways/gw9.dmz.example", 404)
    ask("POST", "/api/v1/agents", 201, {"name": "a9.dmz.example"})
    ask("DELETE", "/api/v1/agents/a9.dmz.example")
    for target in ("", "/approve", "/reject"):
        ask("POST" if target else "GET", f"/api/v1/pending/a9.dmz.example{target}", 404)
    ask("GET", "/api/v1/alerts/1", 404)
    ask("POST", "/api/v1/alerts/1/close", 404)
    ask("POST", f"/api/v1/nodes/{agent.name}/renewal")
    traced = ask("POST", f"/api/v1/nodes/{agent.name}/trace", 202)
    poll("the probe arrives",
         lambda: ask("GET", f"/api/v1/traces/{traced['id']}")["state"] == "arrived")
    ask("GET", "/api/v1/traces/" + 32 * "0", 404)
    ask("POST", "/api/v1/certificates", 422, {"csr": "no request"})
    ask("POST", "/api/v1/revocations", 201, {"certificate": "0a:0b", "reason": "retired"})
    ask("POST", "/api/v1/revocations", 200, {"certificate": "a0b"})
    ask("POST", "/api/v1/revocations", 404, {"certificate": "nobody.example"})
    ask("POST", "/api/v1/revocations", 409, {"certificate": group.server.name})
    ask("GET", "/api/v1/revocations")
    ask("GET", "/api/v1/changes?kinds=weather", 400)
    made = ask("POST", "/api/v1/join-tokens", 201, {"role": "agent", "uses_max": 2})
    ask("DELETE", f"/api/v1/join-tokens/{made['id']}")
    ask("DELETE", f"/api/v1/join-tokens/{made['id']}", 404)
    made = ask("POST", "/api/v1/tokens", 201, {"role": "operator"})
    ask("DELETE", f"/api/v1/tokens/{made['id']}")
    ask("DELETE", f"/api/v1/tokens/{made['id']}", 404)


def pending_is_decided_as_seen(api, group):
    waiting = group.add("p1.dmz.example", "agent", group.server, approve=False)
    poll("it waits", lambda: waiting.name in [one["name"] for one in
                                              api.ask("GET", "/api/v1/pending")["items"]])
    api.ask("GET", f"/api/v1/pending/{waiting.name}")
    tag = api.tag
    api.ask("POST", f"/api/v1/pending/{waiting.name}/approve", 412, headers=('If-Match: "other"',))
    poll("approved as it was seen", lambda: approve(api, waiting, tag))
    waiting.end()


def approve(api, waiting, tag):
    """It knocks every few seconds, which changes when it was last seen: then look again."""
    try:
        api.ask("POST", f"/api/v1/pending/{waiting.name}/approve", 201, headers=(f"If-Match: {tag}",))
        return True
    except Failure:
        api.ask("GET", f"/api/v1/pending/{waiting.name}")
        return api.ask("POST", f"/api/v1/pending/{waiting.name}/approve", 201,
                       headers=(f"If-Match: {api.tag}",))


def entity_tags(api):
    api.ask("GET", "/api/v1/group")
    api.ask("GET", "/api/v1/group", 304, headers=(f"If-None-Match: {api.tag}",))


def authority_is_changed(api, group):
    ask = api.ask
    ask("POST", "/api/v1/authority/switch", 409, {})
    ask("POST", "/api/v1/authority/finish", 409, {"leave_behind": True})
    ask("POST", "/api/v1/authority/roll")
    ask("GET", "/api/v1/authority")
    ask("POST", "/api/v1/authority/switch", 200, {"leave_behind": True})
    poll("the server has a certificate of the next CA",
         lambda: any(entry["what"] == "certificate renewed" and entry["who"] == group.server.name
                     for entry in ask("GET", "/api/v1/audit")["items"]))
    ask("POST", "/api/v1/authority/finish", 200, {"leave_behind": True})


def over_https(group, agent, description):
    """A token does what its role may, from where it may, until it is revoked."""
    server = group.server
    folder = server.folder
    group_file = folder / "group.postern"
    group.postern("group", "export", group_file)
    ca = folder / "anchors.pem"
    text = group_file.read_text()
    ca.write_text(text[text.index("-----BEGIN CERTIFICATE-----"):])
    reader = group.postern("api-token", "create", "--role", "read-only", "--label", "reader").out.strip()
    boss = group.postern("api-token", "create", "--role", "administrator").out.strip()
    api = Api(server, description, reader, ca)
    expect(api.ask("GET", f"/api/v1/nodes/{agent.name}")["connected"], "the same as over the socket")
    api.ask("POST", "/api/v1/agents", 403, {"name": "a8.dmz.example"})
    Api(server, description, boss, ca).ask("POST", "/api/v1/agents", 201, {"name": "a8.dmz.example"})
    entry = group.ask_api("/api/v1/audit?limit=1")["items"][0]
    expect_in("token " + boss.split("_")[1], entry["who"], "the audit entry says whose token it was")
    Api(server, description, reader[:-1] + ("0" if reader[-1] != "0" else "1"), ca).ask(
        "GET", "/api/v1/nodes", 401)
    Api(server, description, "nonsense", ca).ask("GET", "/api/v1/nodes", 401)
    token_file = folder / "token"
    token_file.write_text(reader + "\n")
    there = ("--server", f"https://{server.name}:{server.port}", "--token-file", token_file,
             "--group-file", group_file)
    expect_in(agent.name, group.postern(*there, "inventory").out, "the tool over HTTPS")
    group.postern("api-token", "revoke", reader.split("_")[1])
    expect_in("revoked", group.postern(*there, "inventory", status=1).err, "why not any more")
    api.ask("GET", "/api/v1/nodes", 401)
    # Another group's anchors: nothing is sent, the token least of all.
    other = ca.with_name("other.postern")
    key, certificate = folder / "other.key", folder / "other.pem"
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", key, "-out", certificate, "-subj", "/CN=other", "-days", "2"])
    other.write_text(text[:text.index("-----BEGIN CERTIFICATE-----")] + certificate.read_text())
    done = group.postern(*there[:5], other, "inventory", status=1)
    expect_in("nothing was sent", done.err, "an unknown authority")
    # From where it is not allowed.
    server.set("api_from", "[192.0.2.0/24]")
    mark = server.mark()
    server.signal(signal.SIGHUP)
    server.wait_said("configuration reloaded", mark=mark)
    refused = Api(server, description, boss, ca).ask("GET", "/api/v1/nodes", 403)
    expect_in("api_from", refused["detail"], "the way out")


def changes_are_told(group):
    """A listener hears that a node was approved, and nothing twice after a broken connection."""
    server = group.server
    heard = server.folder / "heard"
    with open(heard, "wb") as out:
        listener = subprocess.Popen(
            ["curl", "-sSN", "--unix-socket", server.state / "api.sock",
             "http://localhost/api/v1/changes?kinds=node"], stdout=out)
    try:
        poll("the stream has begun", lambda: "retry:" in heard.read_text())
        group.postern("agent", "approve", "a7.dmz.example")
        poll("it hears of it", lambda: '"a7.dmz.example"' in heard.read_text())
    finally:
        listener.kill()
        listener.wait()
    last = [line for line in heard.read_text().splitlines() if line.startswith("id: ")][-1][4:]
    group.postern("agent", "approve", "a6.dmz.example")
    done = subprocess.run(["curl", "-sSN", "-m", "2", "--unix-socket", server.state / "api.sock", "-H",
                           f"Last-Event-ID: {last}", "http://localhost/api/v1/changes?kinds=node"],
                          capture_output=True, text=True, check=False)
    expect_in('"a6.dmz.example"', done.stdout, "what it missed")
    expect('"a7.dmz.example"' not in done.stdout, f"what it knew: {done.stdout}")


def metrics_are_prometheus(group, machines):
    for machine in machines:
        socket = machine.state / ("api.sock" if machine.role == "server" else "status.sock")
        text = run(["curl", "-sS", "--fail", "--unix-socket", socket, "http://localhost/metrics"]).out
        expect_in("postern_ready 1", text, machine.name)
        checked = run(["promtool", "check", "metrics"], data=text.encode())
        expect(checked.out + checked.err == "", f"promtool about {machine.name}: {checked}")
        expect_in("ready", run(["curl", "-sS", "--fail", "--unix-socket", socket,
                                "http://localhost/readyz"]).out, machine.name)
    canary = run(["promtool", "check", "metrics"], data=b"# TYPE a counter\na 1\n", status=None)
    expect(canary.status != 0 or canary.out + canary.err, "promtool notices what is wrong")


def description_canary(description):
    """An answer that is not as described is noticed."""
    for body in ('{"items": [{}]}', '{"items": [], "next": 7}', '{}'):
        try:
            description.check("GET", "/api/v1/nodes", 200, "application/json", body)
        except Failure:
            continue
        raise Failure(f"{body} was taken for a list of nodes")


def test(group):
    server = group.make_server()
    server.set("addresses", f"['{server.address}:{server.port}']")
    group.start_server()
    gateway = group.add("gw1.dmz.example", "gateway", server)
    agent = group.add("a1.dmz.example", "agent", gateway)
    wait_complete(group, agent)
    description = Description(Api(server).ask("GET", "/api/v1/openapi.yaml"))
    description_canary(description)
    api = Api(server, description)
    every_operation(api, group, agent)
    pending_is_decided_as_seen(api, group)
    entity_tags(api)
    changes_are_told(group)
    metrics_are_prometheus(group, (server, gateway, agent))
    over_https(group, agent, description)
    authority_is_changed(api, group)
    asked = {(method, path) for method, path, _ in description.seen}
    left = description.operations() - asked - {("post", "/pending/{node}/reject")}
    expect(not left, f"operations that nobody asked for here: {left}")


if __name__ == "__main__":
    main(test)
