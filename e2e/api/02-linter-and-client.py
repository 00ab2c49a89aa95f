#!/usr/bin/env python3
"""docs/api/openapi.yaml before tools that are not ours: a linter finds nothing in it (and does find
what is put in), and a client that is generated from it, compiled strictly, works over HTTPS with a
token. Node's packages are those of client/package-lock.json, kept in build/api-client/."""
import hashlib
import os
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from postern import ROOT, expect, expect_in, main, poll, run, wait_complete  # noqa: E402

SOURCE = pathlib.Path(__file__).resolve().parent / "client"
FOLDER = ROOT / "build/api-client"
DESCRIPTION = ROOT / "docs/api/openapi.yaml"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
INSTALL_SECONDS_MAX = 120
# (what stands in the description, what stands there instead, what the linter says)
DEFECTS = (
    ("operationId: listGateways", "operationId: listAgents", "operation-operationId-unique"),
    ('"#/components/schemas/GatewayApproval"', '"#/components/schemas/GatewayAproval"', "no-unresolved-refs"),
    ("title: {type: string}", "title: {type: text}", "struct"),
)


def install():
    """The locked packages, and our own files beside them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in SOURCE.iterdir():
        if path.is_file():
            shutil.copyfile(path, FOLDER / path.name)
    lock = hashlib.sha256((SOURCE / "package-lock.json").read_bytes()).hexdigest()
    stamp = FOLDER / "installed"
    if not stamp.exists() or stamp.read_text() != lock:
        # npm shall trust whom this machine trusts, not those that came with it.
        run(["npm", "ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts", "--cafile",
             AUTHORITIES], cwd=FOLDER, seconds=INSTALL_SECONDS_MAX)
        stamp.write_text(lock)


def lint(path, status):
    return run(["node", "lint.mjs", path], status=status, cwd=FOLDER).out


def linted(folder):
    expect_in("0 problems", lint(DESCRIPTION, 0), "the description")
    text = DESCRIPTION.read_text()
    for right, wrong, rule in DEFECTS:
        expect(right in text, f"{right} stands in the description no more")
        defective = folder / "defective.yaml"
        defective.write_text(text.replace(right, wrong, 1))
        expect_in(rule, lint(defective, 1), f"{wrong} instead of {right}")


def compiled(description):
    tools = FOLDER / "node_modules/.bin"
    run([tools / "openapi-typescript", description, "--output", FOLDER / "schema.d.ts"])
    run([tools / "tsc", "--project", FOLDER], cwd=FOLDER)


def used(group, server, agent):
    group_file = server.folder / "group.postern"
    group.postern("group", "export", group_file)
    anchors = server.folder / "anchors.pem"
    text = group_file.read_text()
    anchors.write_text(text[text.index("-----BEGIN CERTIFICATE-----"):])
    token = group.postern("api-token", "create", "--role", "read-only").out.strip()
    done = run(["node", "--require", FOLDER / "resolve.cjs", FOLDER / "built/client.js"],
               env=dict(os.environ, NODE_EXTRA_CA_CERTS=str(anchors), POSTERN_TOKEN=token,
                        POSTERN_RESOLVE=f"{server.name} {server.address}", POSTERN_AGENT=agent.name,
                        POSTERN_URL=f"https://{server.name}:{server.port}"))
    expect_in("the generated client saw", done.out, "the client")
    print(done.out.strip())


def test(group):
    install()
    linted(group.folder)
    server = group.make_server()
    server.set("addresses", f"['{server.address}:{server.port}']")
    group.start_server()
    gateway = group.add("gw1.dmz.example", "gateway", server)
    agent = group.add("a1.dmz.example", "agent", gateway)
    wait_complete(group, agent)
    poll("it measures", lambda: group.show(agent)["connected"])
    # Not the file: what the server tells about itself.
    served = group.folder / "served.yaml"
    served.write_text(run(["curl", "-sS", "--fail", "--unix-socket", server.state / "api.sock",
                           "http://localhost/api/v1/openapi.yaml"]).out)
    compiled(served)
    used(group, server, agent)


main(test)
