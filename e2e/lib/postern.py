"""What the end-to-end tests and the demo share: programs as processes, a group set up as its users
would, and looking at it from outside.

A test is an executable that ends with `main(test)`: test(group) gets a Group in a folder of its own
on loopback addresses of its own; whatever happens, every process it started is gone afterwards, and
after a failure the logs' ends are printed.
"""
import atexit
import ctypes
import datetime
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(os.environ.get("POSTERN_ROOT", pathlib.Path(__file__).resolve().parents[2]))
BIN = pathlib.Path(os.environ.get("POSTERN_BIN", ROOT / "build/release/bin"))
PORT = 5723
APPROVAL_TOOL = "Microsoft.EnterpriseManagement.GatewayApprovalTool"
IMPORT_TOOL = "MOMCertImport"
COMMAND_SECONDS_MAX = 30
SKIPPED = 77
LOG_LINES_SHOWN = 15

_prctl = ctypes.CDLL(None).prctl
_PR_SET_PDEATHSIG = 1


class Failure(Exception):
    """What was expected and did not come."""


def expect(condition, words):
    if not condition:
        raise Failure(words)


def expect_in(part, text, what):
    expect(part in text, f"{what}: expected {part!r} in:\n{text}")


def poll(what, probe, seconds=20.0, every=0.1):
    """The first true result of probe(); a Failure of probe() counts as not yet, and tells why."""
    deadline = time.monotonic() + seconds
    why = ""
    while True:
        try:
            result = probe()
            if result:
                return result
            why = f"last: {result!r}"
        except Failure as failure:
            why = str(failure)
        if time.monotonic() >= deadline:
            raise Failure(f"{what}: not within {seconds:g} s; {why}")
        time.sleep(every)


# ---- processes -----------------------------------------------------------------------------------

def _dies_with_us():
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Finished:
    """A command that has ended."""

    def __init__(self, command, status, out, err):
        self.command, self.status, self.out, self.err = command, status, out, err

    @property
    def text(self):
        return self.out + self.err

    def __str__(self):
        return f"{shlex.join(self.command)}\nstatus {self.status}\n{self.out}{self.err}"


def run(command, status=0, env=None, cwd=None, data=None, seconds=COMMAND_SECONDS_MAX):
    """Runs to the end. `status` None takes any, else another one is a Failure."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=None if data is not None else subprocess.DEVNULL, check=False,
                              env=env, cwd=cwd, timeout=seconds, preexec_fn=_dies_with_us)
    except subprocess.TimeoutExpired:
        raise Failure(f"{shlex.join(command)} did not end within {seconds:g} s") from None
    except OSError as error:
        raise Failure(f"{shlex.join(command)}: {error}") from None
    result = Finished(command, done.returncode, done.stdout.decode(errors="replace"),
                      done.stderr.decode(errors="replace"))
    expect(status is None or result.status == status, f"expected status {status} of {result}")
    return result


class Daemon:
    """One program that runs until it is told to stop; its output is appended to `log`."""

    def __init__(self, name, command, log, env=None, pid_file=None):
        self.name, self.command, self.log = name, [str(part) for part in command], pathlib.Path(log)
        self.env, self.pid_file = env, pid_file
        self.process = None

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self):
        return self.process.pid

    def start(self):
        expect(not self.running, f"{self.name} runs already")
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=out, env=self.env, preexec_fn=_dies_with_us)
        if self.pid_file:
            self.pid_file.write_text(f"{self.process.pid}\n")

    def kill(self):
        """As a crash would."""
        expect(self.running, f"{self.name} does not run (status {self.status}); its log:\n{self.tail()}")
        self.process.kill()
        self.gone(5)

    def stop(self, seconds=10):
        """As an operator would: it must end by itself, with status 0."""
        expect(self.running, f"{self.name} does not run (status {self.status}); its log:\n{self.tail()}")
        self.process.terminate()
        self.gone(seconds)
        expect(self.status == 0, f"{self.name} ended with status {self.status} on SIGTERM:\n{self.tail()}")

    def end(self):
        """In any case, for cleaning up."""
        if self.running:
            self.process.terminate()
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        if self.pid_file:
            self.pid_file.unlink(missing_ok=True)

    def signal(self, number):
        expect(self.running, f"{self.name} does not run:\n{self.tail()}")
        self.process.send_signal(number)

    @property
    def status(self):
        return None if self.process is None else self.process.poll()

    def gone(self, seconds=5):
        """Waits for its end."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {seconds} s; its log:\n{self.tail()}") from None
        if self.pid_file:
            self.pid_file.unlink(missing_ok=True)

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines=LOG_LINES_SHOWN):
        return "\n".join(f"    {self.name}| {line}" for line in self.text().splitlines()[-lines:])

    def mark(self):
        """Where the log ends now: for said(), what comes after."""
        return self.log.stat().st_size if self.log.exists() else 0

    def since(self, mark):
        if not self.log.exists():
            return ""
        with open(self.log, "rb") as log:
            log.seek(mark)
            return log.read().decode(errors="replace")

    def said(self, *parts, mark=0):
        """The first line of the log that holds all parts, else ''."""
        for line in self.since(mark).splitlines():
            if all(part in line for part in parts):
                return line
        return ""

    def wait_said(self, *parts, mark=0, seconds=15.0):
        def probe():
            line = self.said(*parts, mark=mark)
            expect(line or self.running, f"{self.name} has ended with status {self.status}")
            return line
        try:
            return poll(f"{self.name} logs {' … '.join(parts)}", probe, seconds)
        except Failure as failure:
            raise Failure(f"{failure}; its log:\n{self.tail(30)}") from None


# ---- addresses -----------------------------------------------------------------------------------

class Addresses:
    """Loopback addresses of one test: 127.A.B.1, 127.A.B.2, ... for a random A.B of its own, so that
    tests that run at the same time do not meet."""

    def __init__(self):
        chance = random.SystemRandom()
        self._prefix = f"127.{chance.randint(1, 254)}.{chance.randint(0, 254)}"
        self._next = 0

    def take(self):
        """(address, port), the port free just now and none that the kernel hands out by itself."""
        self._next += 1
        address = f"{self._prefix}.{self._next}"
        for port in (PORT, *random.sample(range(20000, 30000), 50)):
            with socket.socket() as probe:
                try:
                    probe.bind((address, port))
                except OSError:
                    continue
                return address, port
        raise Failure(f"no free port at {address}")


# ---- machines ------------------------------------------------------------------------------------

class Machine:
    """One computer with one role of Postern on it. On a test's machine all of them share a kernel;
    what tells them apart is their folder, their address and, in the demo, their network namespace
    (`prefix` stands before every command).

      FOLDER/etc/ROLE.yaml   FOLDER/state/   FOLDER/certificates/   FOLDER/log
    """

    def __init__(self, group, name, role, address=None, port=None, prefix=()):
        self.group, self.name, self.role = group, name, role
        self.address, self.port, self.prefix = address, port, tuple(prefix)
        self.folder = group.folder / name.split(".")[0]
        self.state = self.folder / "state"
        self.certificates = self.folder / "certificates"
        self.config = self.folder / "etc" / f"{role}.yaml"
        self.daemon = Daemon(name, [*prefix, BIN / f"postern-{role}", "run", "--config", self.config],
                             self.folder / "log", env=group.env(self),
                             pid_file=self.folder / "pid")
        for folder in (self.config.parent, self.certificates):
            folder.mkdir(parents=True)

    def run(self, *command, status=0, env=(), **options):
        """One command of this machine's administrator."""
        command = [str(part) for part in command]
        self.group.on_command(self, command)
        found = BIN / command[0]
        full = [*self.prefix, str(found) if found.exists() else command[0], *command[1:]]
        result = run(full, status=status, env={**self.group.env(self), **dict(env)}, **options)
        self.group.on_result(result)
        return result

    def configure(self, **settings):
        """Writes the YAML file: values are written as they are, so they may be YAML themselves."""
        lines = [f"{key}: {value}" for key, value in settings.items()]
        self.config.write_text("\n".join(lines) + "\n")
        self.group.on_file(self, self.config)

    def settings(self, parents, interval="1s", **more):
        """What agents and gateways are told."""
        listen = {"listen": f"{self.address}:{self.port}"} if self.role == "gateway" else {}
        written = [f"{{name: {parent.name}, address: '{parent.address}:{parent.port}'}}"
                   for parent in parents]
        self.configure(**{"group": self.group.name, "name": self.name, "state_dir": self.state,
                          **listen, "parents": f"[{', '.join(written)}]", "interval": interval, **more})

    def set(self, key, value):
        """Changes or adds one top-level line of the configuration file."""
        lines = [line for line in self.config.read_text().splitlines()
                 if not re.match(rf"{re.escape(key)}\s*:", line)]
        self.config.write_text("\n".join([*lines, f"{key}: {value}"]) + "\n")

    def start(self):
        self.daemon.start()
        return self

    def __getattr__(self, name):
        # running, stop, kill, said, wait_said, ...: of the program that runs here.
        if name.startswith("_") or name == "daemon":
            raise AttributeError(name)
        return getattr(self.daemon, name)


class Group:
    """A management group in a folder: its machines, set up by the commands that README names."""

    def __init__(self, folder, name="E2E", addresses=None):
        self.folder, self.name = pathlib.Path(folder), name
        self.addresses = addresses or Addresses()
        self.machines, self.daemons = [], []
        self.server = None

    # What the demo overrides to show what happens.
    def on_command(self, machine, command):
        pass

    def on_result(self, result):
        pass

    def on_file(self, machine, path):
        pass

    def env(self, machine):
        env = dict(os.environ, PATH=f"{BIN}:{os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}",
                   POSTERN_CERT_STORE=str(machine.certificates))
        if machine.role == "server":
            env["POSTERN_SERVER"] = f"unix:{machine.state}/api.sock"
        return env

    def machine(self, name, role, **where):
        if role != "agent" and "address" not in where:
            where["address"], where["port"] = self.addresses.take()
        machine = Machine(self, name, role, **where)
        self.machines.append(machine)
        self.daemons.append(machine.daemon)
        return machine

    def daemon(self, name, command, log, **options):
        """A program that is no machine of the group, ended with it."""
        daemon = Daemon(name, command, log, **options)
        self.daemons.append(daemon)
        return daemon

    def make_server(self, name="ms.home.example", interval="1s", store=None, **where):
        server = self.server = self.machine(name, "server", **where)
        server.run("postern-server", "init", "--group", self.name, "--name", name, "--state",
                   server.state, "--listen", f"{server.address}:{server.port}", "--config",
                   server.config, *(["--store", store] if store else []))
        server.set("interval", interval)
        return server

    def start_server(self):
        self.server.start()
        self.wait_answers()
        return self.server

    def wait_answers(self):
        def probe():
            expect(self.server.running, f"the server has ended:\n{self.server.tail()}")
            return self.postern("group", "show", status=None).status == 0
        poll("the management server answers", probe, 15)

    def postern(self, *command, **options):
        """The operator's tool, on the management server."""
        return self.server.run("postern", *command, **options)

    def ask(self, *command):
        return json.loads(self.postern("--output", "json", *command).out)

    def ask_api(self, target):
        """GET, over the management server's Unix socket."""
        return json.loads(run(["curl", "-sS", "--fail-with-body", "--unix-socket",
                               self.server.state / "api.sock", f"http://localhost{target}"]).out)

    def certify(self, machine):
        """Request there, sign at home, import there: what an administrator carries is a request, a
        certificate and the group's file."""
        server, name = self.server, machine.name
        machine.run("postern", "cert", "request", "--name", name, "--out", machine.certificates)
        request, signed = server.folder / f"{name}.csr", server.folder / f"{name}.pem"
        self.carry(machine, machine.certificates / f"{name}.csr", server, request)
        server.run("postern", "cert", "sign", request, "--out", signed)
        group_file = server.folder / "group.postern"
        if not group_file.exists():
            server.run("postern", "group", "export", group_file)
        self.carry(server, signed, machine, machine.certificates / f"{name}.pem")
        self.carry(server, group_file, machine, machine.certificates / group_file.name)
        done = machine.run(IMPORT_TOOL, "/SubjectName", name, "--state", machine.state)
        expect_in(f"The certificate of {name} was imported successfully.", done.out, IMPORT_TOOL)

    def carry(self, source, path, target, to):
        shutil.copyfile(path, to)

    def approve_gateway(self, machine, parent):
        done = self.server.run(APPROVAL_TOOL, f"/ManagementServerName={parent.name}",
                               f"/GatewayName={machine.name}", "/Action=Create")
        expect_in(f"The approval of server {machine.name} completed successfully.", done.out,
                  "the approval tool")
        return done

    def add(self, name, role, parent, approve=True, start=True, interval="1s", **where):
        """A gateway or agent behind `parent`, approved before it first calls."""
        machine = self.machine(name, role, **where)
        machine.settings([parent], interval=interval)
        self.certify(machine)
        if approve and role == "gateway":
            self.approve_gateway(machine, parent)
        elif approve:
            self.postern("agent", "approve", name, "--parent", parent.name)
        if start:
            machine.start()
        return machine

    def chain(self):
        """agent a3 -> gateway gw2 -> gateway gw1 -> management server, all attached."""
        server = self.make_server()
        self.start_server()
        gw1 = self.add("gw1.dmz.example", "gateway", server)
        gw2 = self.add("gw2.site.example", "gateway", gw1)
        agent = self.add("a3.site.example", "agent", gw2)
        for machine in (gw1, gw2, agent):
            machine.wait_said("attached to", seconds=20)
        return server, gw1, gw2, agent

    def show(self, machine):
        return self.ask("agent" if machine.role == "agent" else "gateway", "show", machine.name)

    def close(self):
        for daemon in self.daemons:
            if daemon.running:
                daemon.signal(signal.SIGTERM)
        for daemon in self.daemons:
            daemon.end()

    def report(self):
        for daemon in self.daemons:
            state = "runs" if daemon.running else f"status {daemon.status}"
            print(f"--- {daemon.name} ({state}) {daemon.log}\n{daemon.tail()}")


# ---- looking at what arrived ---------------------------------------------------------------------

def streams(detail):
    """{lane and epoch: stream} of a node's JSON."""
    return {(s["lane"], s["epoch"]["ordinal"], s["epoch"]["random"]): s for s in detail["streams"]}


def complete(detail):
    """True when all that is known to be sealed is applied, without a gap; says what is missing."""
    found = streams(detail)
    expect(found, f"no stream of {detail['name']} is known")
    for key, stream in found.items():
        expect(stream["gaps"] == [], f"{detail['name']} {key} has gaps: {stream}")
        expect(stream["sealed"] > 0 and stream["applied"] == [[1, stream["sealed"]]],
               f"{detail['name']} {key} is not complete: sealed {stream['sealed']}, "
               f"applied {stream['applied']}")
    return True


def wait_complete(group, machine, at_least=1, lane="metric", seconds=30):
    """Complete, and the lane has at least so many batches; returns the node's JSON."""
    def probe():
        detail = group.show(machine)
        complete(detail)
        sealed = sum(s["sealed"] for s in detail["streams"] if s["lane"] == lane)
        expect(sealed >= at_least, f"{machine.name}: {lane} has {sealed} batches, not yet {at_least}")
        return detail
    return poll(f"everything of {machine.name} is applied", probe, seconds)


def applied_count(group, machine):
    return sum(last - first + 1 for stream in group.show(machine)["streams"]
               for first, last in stream["applied"])


def value_of(detail, metric, **attributes):
    """(value, measured at, Unix seconds) of a node's newest value; dots in names are written __."""
    wanted = {key.replace("__", "."): value for key, value in attributes.items()}
    for value in detail["values"]:
        if value["metric"] == metric and all(value["attributes"].get(k) == v for k, v in wanted.items()):
            return value["value"], to_seconds(value["time"])
    raise Failure(f"{detail['name']} has no value of {metric} {wanted or ''}")


def to_seconds(rfc3339):
    return datetime.datetime.fromisoformat(rfc3339.replace("Z", "+00:00")).timestamp()


def meminfo(key):
    """Bytes, by the kernel."""
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise Failure(f"/proc/meminfo has no {key}")


def uptime():
    return float(pathlib.Path("/proc/uptime").read_text().split()[0])


def os_name():
    text = pathlib.Path("/etc/os-release").read_text()
    return re.search(r'^PRETTY_NAME="?([^"\n]*)', text, re.M)[1]


def own_addresses(prefix=()):
    """What inventories show: neither loopback nor link-local."""
    found = json.loads(run([*prefix, "ip", "-json", "address", "show"]).out)
    return sorted(entry["local"] for link in found if link["ifname"] != "lo"
                  for entry in link["addr_info"]
                  if entry.get("scope") != "link" and not entry["local"].startswith("169.254."))


def check_measurements(detail, addresses, interval):
    """What came over the chain is what this machine's kernel says (all nodes share it)."""
    limit, _ = value_of(detail, "system.memory.limit")
    expect(limit == meminfo("MemTotal"),
           f"{detail['name']}: memory is {limit} bytes, /proc says {meminfo('MemTotal')}")
    value, measured = value_of(detail, "system.uptime")
    age = time.time() - measured
    expect(abs(value - (uptime() - age)) < interval + 1,
           f"{detail['name']}: uptime {value} s measured {age:.1f} s ago, /proc says {uptime()} now")
    expect(detail["os"] == os_name(), f"{detail['name']}: system {detail['os']!r}, not {os_name()!r}")
    expect(detail["kernel"] == os.uname().release,
           f"{detail['name']}: kernel {detail['kernel']!r}, not {os.uname().release!r}")
    expect(sorted(detail["addresses"]) == addresses,
           f"{detail['name']}: addresses {detail['addresses']}, not {addresses}")
    return limit, value, measured


# ---- a test's frame ------------------------------------------------------------------------------

def _exit_on_signal(number, frame):
    sys.exit(128 + number)


def main(test, group_in=None):
    """Runs test(group); `group_in(folder)` makes the group, a plain Group without it."""
    signal.signal(signal.SIGTERM, _exit_on_signal)
    if not (BIN / "postern").exists():
        print(f"the programs are not in {BIN}; build them with ./dev build")
        sys.exit(1)
    given = os.environ.get("POSTERN_WORK")
    # Short: the path of a Unix socket has room for about 100 bytes.
    work = pathlib.Path(given or tempfile.mkdtemp(prefix="e2e-"))
    if not given:
        atexit.register(shutil.rmtree, work, ignore_errors=True)
    group = (group_in or Group)(work)
    started = time.monotonic()
    status = 1
    try:
        test(group)
        status = 0
        print(f"passed in {time.monotonic() - started:.1f} s")
    except Failure as failure:
        group.report()
        where = traceback.extract_tb(failure.__traceback__)
        line = next((f"{pathlib.Path(f.filename).name}:{f.lineno}" for f in reversed(where)
                     if "/lib/" not in f.filename), "?")
        print(f"FAILED at {line}: {failure}")
    except Exception:
        group.report()
        traceback.print_exc(file=sys.stdout)
    finally:
        group.close()
    sys.exit(status)
