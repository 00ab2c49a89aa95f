#!/usr/bin/env python3
"""README's installations work as they are written, by token and by hand: the commands are run, each on
a machine with a name, an /etc/postern and a /var/lib/postern of its own (namespaces). Only `0.0.0.0` is
replaced, because the machines share one network here, and scp is a copy."""
import json
import os
import pathlib
import re
import shlex
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from postern import (BIN, PORT, ROOT, SKIPPED, Daemon, Failure, check_measurements, expect,  # noqa: E402
                     main, own_addresses, poll, run)

SECTIONS = ("## A first installation", "## The same by hand")
SHARED = "/etc/postern", "/var/lib/postern"
FQDN = {"ms": "ms.home.example", "gw1": "gw1.dmz.example", "web": "web.dmz.example"}
# Commands that look at something that takes a moment, and what they must show.
SHOWS = {
    "postern pending list": ["web.dmz.example"],
    "postern inventory": ["ms.home.example", "gw1.dmz.example", "web.dmz.example"],
    "postern topology": ["ms.home.example", "`- gw1.dmz.example", "`- web.dmz.example"],
}


def read_section(title):
    """([(machine, command)], [(machine, path, text)])"""
    text = (ROOT / "README.md").read_text()
    expect(f"{title}\n" in text, f"README.md has no section '{title}'")
    section = text.split(f"{title}\n", 1)[1].split("\n## ", 1)[0]
    commands, files = [], []
    for kind, block in re.findall(r"^```(\w*)\n(.*?)^```$", section, re.M | re.S):
        if kind == "yaml":
            machine, path = re.fullmatch(r"# (\w+): (/\S+)", block.splitlines()[0]).groups()
            files.append((machine, path, block))
            continue
        for line in block.replace("\\\n", " ").splitlines():
            found = re.fullmatch(r"(\w+)# +(.*)", line)
            expect(found, f"README.md: no prompt in {line!r}")
            commands.append(found.groups())
    expect(len(commands) > 11, f"README.md, {title}: {len(commands)} commands")
    return commands, files


class Computer:
    def __init__(self, group, name):
        self.name = name
        self.address, port = group.addresses.take()
        expect(port == PORT, f"{self.address}:{PORT} is taken on this machine")
        self.folder = group.folder / name
        self.home = self.folder / "home"
        for part in ("home", "etc", "var"):
            (self.folder / part).mkdir(parents=True)
        self.hosts = group.folder / "hosts"
        self.holder = None

    def boot(self, group):
        """A process that keeps the mount namespace."""
        mounts = " && ".join(f"mount --bind {self.folder}/{part} {path}" for part, path in
                             (("etc", SHARED[0]), ("var", SHARED[1])))
        ready = self.folder / "ready"
        script = (f"{mounts} && mount --bind {self.hosts} /etc/hosts && hostname {FQDN[self.name]} && "
                  f"touch {ready} && exec sleep 1000")
        self.holder = group.daemon(f"{self.name}'s machine", ["unshare", "--mount", "--uts",
                                                             "--propagation", "private", "sh", "-c",
                                                             script],
                                   self.folder / "boot.log")
        self.holder.start()
        poll(f"{self.name} is up", lambda: ready.exists() or expect(
            self.holder.running, f"no mount namespace:\n{self.holder.tail()}"), 10)

    def inside(self, command):
        # The root too: where this machine itself is a chroot, entering would leave it.
        return ["nsenter", f"--target={self.holder.pid}", "--mount", "--uts", "--root", "sh", "-c",
                f"cd {self.home} && exec {command}"]

    def listen_here(self):
        """What a command wrote may say 0.0.0.0."""
        for file in (self.folder / "etc").glob("*.yaml"):
            file.write_text(file.read_text().replace("0.0.0.0", self.address))

    def path(self, text):
        """Where a path of this machine lies for us."""
        for own, ours in ((SHARED[0], "etc"), (SHARED[1], "var")):
            if text.startswith(own):
                return self.folder / ours / text[len(own):].lstrip("/")
        return self.home / text


def copy(computers, machine, command):
    *sources, target = shlex.split(command)[1:]
    other, _, where = target.partition(":")
    for source in sources:
        place = computers[other].path(where) if where else computers[other].home
        shutil.copy(computers[machine].path(source), place)


def type_commands(group, computers, commands, env):
    daemons = {}
    for machine, command in commands:
        computer = computers[machine]
        print(f"{machine}# {command}")
        if command.startswith("scp "):
            copy(computers, machine, command)
            continue
        full = computer.inside(command.rstrip("& ").replace("0.0.0.0", computer.address))
        if command.endswith("&"):
            daemons[machine] = group.daemon(FQDN[machine], full, computer.folder / "log", env=env)
            daemons[machine].start()
            if machine == "ms":
                poll("the server answers", lambda: run(
                    computers["ms"].inside("postern group show"), status=None, env=env).status == 0, 15)
            continue

        def shows(full=full, command=command, computer=computer):
            out = run(full, env=env).out
            computer.listen_here()
            for words in SHOWS.get(command, []):
                expect(words in out, f"{command} does not show {words!r}:\n{out}")
            return True
        poll(command, shows, 20) if command in SHOWS else shows()
    return daemons


def install(group, title):
    commands, files = read_section(title)
    env = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}")
    for variable in ("POSTERN_SERVER", "POSTERN_CERT_STORE"):
        env.pop(variable, None)
    computers = {name: Computer(group, name) for name in FQDN}
    (group.folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(
        f"{computer.address} {FQDN[name]}\n" for name, computer in computers.items()))
    made = [pathlib.Path(path) for path in SHARED if not os.path.exists(path)]
    try:
        for path in made:
            path.mkdir(parents=True)
        for computer in computers.values():
            computer.boot(group)
        for machine, path, text in files:
            computers[machine].path(path).write_text(text.replace("0.0.0.0", computers[machine].address))
        daemons = type_commands(group, computers, commands, env)
        expect(len(daemons) == 3, f"{sorted(daemons)} run")
        daemons["web"].wait_said("attached to", seconds=30)

        def arrived():
            shown = run(computers["ms"].inside("postern --output json agent show web.dmz.example"), env=env)
            return check_measurements(json.loads(shown.out), own_addresses(), 60)
        poll("what web measured is there", arrived, 30)
        for daemon in daemons.values():
            expect(daemon.running, daemon.tail())
    finally:
        group.close()
        astray = [str(file) for path in made for file in path.rglob("*")]
        for path in made:
            shutil.rmtree(path)
        if astray:
            raise Failure(f"a command wrote past its machine: {astray}")


def test(group):
    folder = group.folder
    for title in SECTIONS:
        print(title)
        group.folder = folder / title.strip("# ").replace(" ", "-")
        group.folder.mkdir()
        install(group, title)


if os.geteuid() != 0:
    print("only root may give each machine folders of its own")
    sys.exit(SKIPPED)
main(test)
