#!/usr/bin/env python3
"""What an agent measures is what /proc and df say, all of it stands in docs/measurements.md, and a
file system whose server is gone is a warning that holds up nothing else. Needs root for the latter."""
import ctypes
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import sqlite3
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from postern import ROOT, expect, main, meminfo, poll, run, to_seconds, wait_complete  # noqa: E402

PAGE = os.sysconf("SC_PAGESIZE")
CLONE_NEWNS, MS_REC, MS_PRIVATE, MNT_DETACH = 0x20000, 0x4000, 1 << 18, 2
libc = ctypes.CDLL(None, use_errno=True)


def documented():
    """{name: (unit, attributes, collectors)} of the tables; names of the program's own have ROLE."""
    rows = {}
    for line in (ROOT / "docs/measurements.md").read_text().splitlines():
        cells = line.split("|")
        if len(cells) == 8 and "`" in cells[1]:
            words = [re.findall(r"`([^`]*)`", cell) for cell in cells]
            rows[words[1][0]] = (words[2][0], set(words[4]), set(words[6]))
    expect(len(rows) > 40, f"only {len(rows)} rows are read")
    return rows


def entities(group, node, kind):
    """The newest states, by id, as the store has them."""
    path = f"file:{group.server.state}/store.sqlite?mode=ro"
    with sqlite3.connect(path, uri=True) as store:
        found = store.execute("SELECT id, attributes FROM entity WHERE node = ? AND type = ?",
                              (bytes.fromhex(node), kind)).fetchall()
    return [(json.loads(key), json.loads(attributes)) for key, attributes in found]


def collector_states(group, node):
    return {key["postern.collector"]: state for key, state in entities(group, node, "postern.collector")}


def server_shows(server):
    """The server as a node, by its API: the tool has no verb for it."""
    class Local(http.client.HTTPConnection):
        def connect(self):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(str(server.state / "api.sock"))
    connection = Local("localhost")
    connection.request("GET", f"/api/v1/nodes/{server.name}")
    answer = connection.getresponse()
    body = answer.read()
    expect(answer.status == 200, f"{answer.status} {body}")
    return json.loads(body)


class Values:
    """A node's newest values."""

    def __init__(self, detail):
        self.all = detail["values"]

    def one(self, metric, **attributes):
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        found = [v for v in self.all if v["metric"] == metric
                 and all(v["attributes"].get(k) == w for k, w in wanted.items())]
        expect(len(found) == 1, f"{metric} {wanted}: {found}")
        return found[0]["value"]

    def total(self, metric, **attributes):
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        found = [v["value"] for v in self.all if v["metric"] == metric
                 and all(v["attributes"].get(k) == w for k, w in wanted.items())]
        expect(found, f"no {metric} {wanted}")
        return sum(found)


def close_to(value, oracle, share, more, what):
    expect(abs(value - oracle) <= abs(oracle) * share + more, f"{what}: {value}, the oracle says {oracle}")


def everything_is_documented(detail, role):
    rows = documented()
    for value in detail["values"]:
        name = value["metric"].replace(f"postern.{role}.memory", "postern.ROLE.memory") \
            .replace(f"postern.{role}.cpu", "postern.ROLE.cpu") \
            .replace(f"postern.{role}.threads", "postern.ROLE.threads") \
            .replace(f"postern.{role}.collector", "postern.ROLE.collector")
        expect(name in rows, f"{detail['name']}: {value['metric']} is not in docs/measurements.md")
        unit, attributes, _ = rows[name]
        expect(value["unit"] == unit, f"{name}: unit {value['unit']}, documented {unit}")
        expect(set(value["attributes"]) <= attributes, f"{name}: attributes {value['attributes']}")


def proc(path):
    return pathlib.Path("/proc", path).read_text()


def compare(detail):
    """With /proc and df, read a moment later."""
    v = Values(detail)
    fields = proc("stat").splitlines()[0].split()
    for mode, column in (("user", 1), ("system", 3), ("idle", 4)):
        close_to(v.total("system.cpu.time", cpu__mode=mode), int(fields[column]) / 100, 0.02, 30,
                 f"cpu time {mode}")
    expect(v.one("system.cpu.logical.count") == os.cpu_count(), "processors")
    expect(v.one("system.memory.limit") == meminfo("MemTotal"), "memory")
    close_to(v.one("system.memory.linux.available"), meminfo("MemAvailable"), 0.2, 200 << 20, "available")
    close_to(v.one("system.cpu.load_average.15m"), float(proc("loadavg").split()[2]), 0.1, 0.2, "load")

    df = run(["df", "--block-size=1", "--output=source,fstype,size,avail,itotal,iused,target", "/"])
    source, kind, size, free, inodes, used, target = df.out.splitlines()[1].split()
    root = {"system__filesystem__mountpoint": "/"}
    expect(target == "/", df.out)
    expect(v.one("system.filesystem.limit", **root) == int(size), f"size of /: {df.out}")
    close_to(v.one("system.filesystem.usage", system__filesystem__state="free", **root), int(free),
             0.05, 100 << 20, "free space of /")
    if inodes != "0" and inodes != "-":
        close_to(v.one("system.filesystem.inodes.usage", system__filesystem__state="used", **root),
                 int(used), 0.05, 5000, f"inodes of {source} ({kind})")

    for line in proc("net/dev").splitlines()[2:]:
        name, numbers = line.split(":")
        if name.strip() == "lo":
            continue
        close_to(v.one("system.network.io", network__interface__name=name.strip(),
                       network__io__direction="receive"), int(numbers.split()[0]), 0.05, 1 << 20, name)
    for line in proc("diskstats").splitlines():
        words = line.split()
        if pathlib.Path("/sys/block", words[2]).exists() and not re.match("loop|ram|zram|sr|fd", words[2]):
            close_to(v.one("system.disk.io", system__device=words[2], disk__io__direction="write"),
                     int(words[9]) * 512, 0.1, 64 << 20, f"written to {words[2]}")

    running = sum(name.isdigit() for name in os.listdir("/proc"))
    close_to(v.total("system.process.count"), running, 0.3, 20, "processes")
    with socket.create_server(("127.0.0.1", 0)):
        listening = sum(line.split()[3] == "0A" for path in ("net/tcp", "net/tcp6")
                        for line in proc(path).splitlines()[1:])
    close_to(v.one("system.network.connection.count", network__transport="tcp",
                   network__connection__state="listen"), listening, 0.5, 10, "listening sockets")
    expect(v.one("postern.clock.synchronised") in (0, 1), "the clock's state")
    if pathlib.Path("/proc/pressure/cpu").exists():
        total = int(proc("pressure/cpu").split("total=")[1].split()[0]) / 1e6
        close_to(v.one("postern.pressure.time", postern__pressure__resource="cpu",
                       postern__pressure__scope="some"), total, 0.05, 30, "pressure")
    names = {x["attributes"]["process.executable.name"] for x in detail["values"]
             if x["metric"] == "process.memory.usage"}
    expect(len(names) >= 3, f"top consumers {names}")


def says_what_it_takes(detail, agent):
    v = Values(detail)
    resident = int(proc(f"{agent.pid}/statm").split()[1]) * PAGE
    close_to(v.one("postern.agent.memory.resident"), resident, 0.2, 1 << 20, "resident memory")
    expect(resident < 15 << 20, f"the agent takes {resident} bytes")
    expect(v.one("postern.agent.cpu.time") > 0, "no processor time")
    expect(v.one("postern.origin.sealed") >= 3, "batches sealed")
    expect(v.total("postern.agent.collector.failures") == 0, "collectors failed")
    print(f"resident {resident / (1 << 20):.1f} MiB, {v.one('postern.agent.cpu.time')} s of processor")


def the_inventory_is_true(group, detail):
    (_, host), = entities(group, detail["id"], "host")
    expect(host["host.kernel.release"] == os.uname().release, f"{host}")
    expect(host["host.cpu.count"] == os.cpu_count(), f"{host}")
    for disk in host["postern.disks"]:
        name, size = re.match(r"(\S+) size=(\d+)", disk).groups()
        blocks = int(pathlib.Path("/sys/block", name, "size").read_text())
        expect(int(size) == blocks * 512, f"{disk}, the kernel says {blocks} blocks")
    if pathlib.Path("/var/lib/dpkg/status").exists():
        installed = run(["dpkg-query", "-f", "${db:Status-Status}\n", "-W"]).out.split()
        expect(installed.count("installed") <= host["postern.packages"] <= len(installed),
               f"{host['postern.packages']} packages, dpkg says {len(installed)}")
    print(f"inventory: {host}")


# ---- switched off, and hanging -------------------------------------------------------------------

def switched_off(group, agent):
    agent.set("collectors", "{load: off, swap: {interval: 1h}}")
    agent.run("postern-agent", "check-config", "--config", agent.config)
    mark = agent.mark()
    agent.signal(signal.SIGHUP)
    agent.wait_said("collectors' settings have changed", mark=mark)
    node = group.show(agent)["id"]
    poll("load is switched off", lambda: collector_states(group, node)["load"].get("reason") == "switched off")

    def newest(metric):
        return max(to_seconds(v["time"]) for v in group.show(agent)["values"] if v["metric"] == metric)

    old, other = newest("system.cpu.load_average.1m"), newest("system.uptime")
    poll("the others go on", lambda: newest("system.uptime") > other + 3)
    expect(newest("system.cpu.load_average.1m") == old, "load is still measured")
    agent.set("collectors", "{lode: off}")
    done = agent.run("postern-agent", "check-config", "--config", agent.config, status=1)
    expect("agent.yaml:" in done.err and "lode" in done.err, done.err)
    agent.set("collectors", "{}")
    agent.signal(signal.SIGHUP)


def mount(source, target, kind, flags, data):
    if libc.mount(source, str(target).encode(), kind, flags, data) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))


class DeadFileSystem:
    """A mount that nobody answers for: whoever asks for its space waits until it is given up."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        mount(b"gone.example:/", folder, b"fuse.sshfs", 0,
              f"fd={self.device},rootmode=40000,user_id=0,group_id=0,allow_other".encode())

    def give_up(self):
        os.close(self.device)

    def unmount(self):
        libc.umount2(str(self.folder).encode(), MNT_DETACH)


def a_dead_file_system(group, agent):
    node = group.show(agent)["id"]
    dead = DeadFileSystem(group.folder / "dead")
    try:
        def warned():
            state = collector_states(group, node)["remote_filesystems"]
            return state["state"] == "warning" and state
        state = poll("the collector is a warning", warned, 20)
        expect("has not answered" in state["reason"], f"{state}")
        agent.wait_said("collector remote_filesystems: it has not answered")
        before = {v["metric"]: to_seconds(v["time"]) for v in group.show(agent)["values"]}

        def others_go_on():
            now = {v["metric"]: to_seconds(v["time"]) for v in group.show(agent)["values"]}
            return all(now[m] > before[m] for m in ("system.uptime", "system.filesystem.limit",
                                                     "system.disk.io", "system.process.count"))
        poll("everything else goes on", others_go_on)
        others = {name: state for name, state in collector_states(group, node).items()
                  if name != "remote_filesystems" and state["state"] != "healthy"}
        expect(not others, f"others ail, too: {others}")
        agent.stop()  # it ends although the call still hangs
        agent.start()
        poll("it is noticed again", warned, 20)
    finally:
        dead.give_up()
        dead.unmount()
    poll("the collector is well again",
         lambda: collector_states(group, node)["remote_filesystems"]["state"] == "healthy", 20)


def test(group):
    root = os.geteuid() == 0 and os.access("/dev/fuse", os.R_OK | os.W_OK)
    if root:
        expect(libc.unshare(CLONE_NEWNS) == 0, "no mount namespace of its own")
        mount(b"none", "/", None, MS_REC | MS_PRIVATE, None)
    group.make_server()
    group.start_server()
    gateway = group.add("gw1.dmz.example", "gateway", group.server)
    agent = group.add("a1.dmz.example", "agent", gateway)
    detail = wait_complete(group, agent, at_least=4)
    everything_is_documented(detail, "agent")
    everything_is_documented(wait_complete(group, gateway, at_least=3), "gateway")
    everything_is_documented(server_shows(group.server), "server")
    compare(detail)
    says_what_it_takes(detail, agent)
    the_inventory_is_true(group, detail)
    states = collector_states(group, detail["id"])
    expect(len(states) == 17 and all(s["state"] == "healthy" for s in states.values()), f"{states}")
    switched_off(group, agent)
    if root:
        a_dead_file_system(group, agent)
    else:
        print("not root: the dead file system is left out")


main(test)
