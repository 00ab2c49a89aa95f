#!/usr/bin/env python3
"""The Debian packages hold what they must: unpacked by dpkg into an empty root they are complete, their files
have the right owners and modes, and their programs run from there. `./dev packages --prove` installs
them by apt in a bare system."""
import hashlib
import os
import pathlib
import re
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from postern import BIN, ROOT, SKIPPED, expect, expect_in, main, run  # noqa: E402

ROLES = ("agent", "gateway", "server")
PACKAGES = ("postern", *(f"postern-{role}" for role in ROLES))
TOOLS = ("Microsoft.EnterpriseManagement.GatewayApprovalTool", "MOMCertImport")


def build(out):
    run([ROOT / "tools/packages", BIN.parent, out], seconds=120)
    found = {run(["dpkg-deb", "-f", deb, "Package"]).out.strip(): deb for deb in out.glob("postern-*.deb")}
    expect(set(found) == set(PACKAGES), f"postern-*.deb are {sorted(found)}")
    return found


def field(deb, name):
    return run(["dpkg-deb", "-f", deb, name]).out.strip()


def control_is_right(debs):
    version = run([BIN / "postern", "--version"]).out.split()[-1]
    for name, deb in debs.items():
        expect(field(deb, "Version") == version, f"{name} is {field(deb, 'Version')}, not {version}")
        expect_in("libc6 (>=", field(deb, "Depends"), f"{name}'s dependencies")
        expect(("adduser" in field(deb, "Depends")) == (name != "postern"), name)
        expect_in(version, run([BIN / name, "--version"]).out, name)
        # No file of ours is in /etc: what stands there is the administrator's, and dpkg asks nothing.
        listed = run(["dpkg-deb", "-c", deb]).out.splitlines()
        for line in listed:
            expect(line.split()[1] == "root/root", f"{name}: {line}")
            expect(not re.match(r"[^d].* \./etc/", line), f"{name} ships a file in /etc: {line}")
            expect(line[0] == "l" or (line[8] != "w" and "s" not in line[:10]), f"{name}: {line}")
    expect("openssl" not in field(debs["postern-agent"], "Depends"), "the agent needs few packages")


def unpack(debs, root):
    (root / "var/lib/dpkg/updates").mkdir(parents=True)
    (root / "var/lib/dpkg/info").mkdir()
    (root / "var/lib/dpkg/status").touch()
    run(["dpkg", f"--root={root}", "--force-depends", "--force-not-root", "--no-triggers", "--log=/dev/null",
         "--unpack", *debs.values()], seconds=120)
    verified = run(["dpkg", f"--root={root}", "--verify", *PACKAGES])
    expect(verified.out == "", verified.out)


def content_is_right(root):
    for role in ROLES:
        name = f"postern-{role}"
        for path in (f"usr/sbin/{name}", f"usr/lib/systemd/system/{name}.service", f"usr/share/man/man8/{name}.8.gz",
                     f"usr/share/bash-completion/completions/{name}", f"usr/share/zsh/vendor-completions/_{name}",
                     f"usr/share/doc/{name}/examples/{role}.yaml", f"usr/share/doc/{name}/copyright",
                     f"usr/share/doc/{name}/changelog.gz"):
            expect((root / path).is_file(), f"{name} has no {path}")
        unit = (root / f"usr/lib/systemd/system/{name}.service").read_text()
        program = re.search(r"^ExecStart=(\S+)", unit, re.M)[1]
        expect(os.access(root / program[1:], os.X_OK), f"{name}: the unit starts {program}")
        done = run([root / program[1:], "check-config", "--config",
                    root / f"usr/share/doc/{name}/examples/{role}.yaml"])
        expect_in("is good", done.out, "the example")
    for path in ("usr/bin/postern", "usr/share/man/man1/postern.1.gz",
                 "usr/share/bash-completion/completions/postern", "usr/share/zsh/vendor-completions/_postern"):
        expect((root / path).is_file(), f"postern has no {path}")
    for tool in TOOLS:
        expect_in("/", run([root / "usr/bin" / tool, "/?"]).out, tool)
    expect((root / "var/lib/postern").stat().st_mode & 0o777 == 0o755, "no role's user gets to its state")
    expect((root / "etc/postern/certificates").stat().st_mode & 0o777 == 0o750, "certificates are open")
    for program in (*(root / "usr/sbin").iterdir(), root / "usr/bin/postern"):
        expect(b".debug_info" not in program.read_bytes(), f"{program.name} is not stripped")


def scripts_are_right(root):
    for role in ROLES:
        for script in ("postinst", "prerm", "postrm"):
            path = root / f"var/lib/dpkg/info/postern-{role}.{script}"
            run(["sh", "-n", path])
            expect("ROLE" not in path.read_text(), f"{path.name} knows no role")
        text = (root / f"var/lib/dpkg/info/postern-{role}.postrm").read_text()
        expect("rm -rf" not in text.split('"$1" = purge', 1)[0], "state goes with a purge only")


def digest(folder):
    return {deb.name: hashlib.sha256(deb.read_bytes()).hexdigest() for deb in folder.glob("*.deb")}


def test(group):
    out, root = group.folder / "out", group.folder / "root"
    debs = build(out)
    control_is_right(debs)
    unpack(debs, root)
    content_is_right(root)
    scripts_are_right(root)
    build(group.folder / "again")
    expect(digest(out) == digest(group.folder / "again"), "the same tree made other packages")


missing = [tool for tool in ("dpkg-deb", "dpkg-shlibdeps", "strip") if not shutil.which(tool)]
if os.geteuid() != 0 or missing:
    print("only root unpacks packages" if not missing else f"{missing[0]} is not here")
    sys.exit(SKIPPED)
main(test)
