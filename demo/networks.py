"""Where the demo's machines stand: three networks with a firewall between them, made of network
namespaces; or, where that is not possible, addresses of the loopback network.

Everything that is made here is called postern-demo-*, and remove() leaves nothing of it.
"""
import os
import shlex

from postern import Failure, PORT, run

NETWORKS = ("home", "dmz", "site")
PREFIX = "postern-demo-"
ROUTER = PREFIX + "router"
TABLE = "postern-demo"

RULES = """table inet {table} {{
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "dmz" oifname "home" ip daddr {ms} tcp dport {port} counter accept comment "gw1 to ms"
    iifname "site" oifname "dmz" ip daddr {gw1} tcp dport {port} counter accept comment "gw2 to gw1"
    counter reject with icmpx admin-prohibited
  }}
}}
"""


def _ours():
    listed = run(["ip", "netns", "list"], status=None).out.splitlines()
    return [line.split()[0] for line in listed if line.startswith(PREFIX)]


class Namespaces:
    """home, dmz and site are namespaces; a fourth, the router, forwards between them."""

    walled = True

    def __init__(self, say):
        self._say = say

    @staticmethod
    def impossible():
        """Why this cannot be had here, or ''."""
        if os.geteuid() != 0:
            return "only root may make network namespaces"
        probe = PREFIX + "probe"
        try:
            run(["ip", "netns", "add", probe])
            try:
                run(["ip", "netns", "exec", probe, "nft", "add", "table", "inet", TABLE])
            finally:
                run(["ip", "netns", "delete", probe])
        except Failure as failure:
            return str(failure).strip().splitlines()[-1]
        return ""

    def address(self, network, host):
        return f"10.57.{NETWORKS.index(network) + 1}.{host}"

    def prefix(self, network):
        return ("ip", "netns", "exec", PREFIX + network)

    def make(self, hosts):
        """`hosts`: {network: [host numbers]}."""
        self._do("ip", "netns", "add", ROUTER)
        for network in NETWORKS:
            self._do("ip", "netns", "add", PREFIX + network)
            self._do("ip", "link", "add", network, "netns", ROUTER, "type", "veth", "peer", "name",
                     "eth0", "netns", PREFIX + network)
            for host in hosts[network]:
                self._inside(network, "ip", "address", "add", f"{self.address(network, host)}/24",
                             "dev", "eth0")
            for link in ("lo", "eth0"):
                self._inside(network, "ip", "link", "set", link, "up")
            self._inside("router", "ip", "address", "add", f"{self.address(network, 1)}/24", "dev",
                         network)
            self._inside("router", "ip", "link", "set", network, "up")
            self._inside(network, "ip", "route", "add", "default", "via", self.address(network, 1))
        self._inside("router", "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")

    def wall(self, ms, gw1):
        rules = RULES.format(table=TABLE, ms=ms, gw1=gw1, port=PORT)
        run([*self.prefix("router"), "nft", "-f", "-"], data=rules.encode())
        return run([*self.prefix("router"), "nft", "list", "ruleset"]).out

    def remove(self):
        for namespace in _ours():
            for pid in run(["ip", "netns", "pids", namespace], status=None).out.split():
                run(["kill", "-KILL", pid], status=None)
            run(["ip", "netns", "delete", namespace], status=None)

    def left(self):
        left = [f"namespace {name}" for name in _ours()]
        if TABLE in run(["nft", "list", "tables"], status=None).out:
            left.append(f"nftables table {TABLE}")
        return left

    def _inside(self, network, *command):
        self._do(*self.prefix(network), *command)

    def _do(self, *command):
        self._say(f"# {shlex.join(command)}")
        run(command)


class Loopback:
    """All machines on this one, at addresses of their own; nothing lies between them."""

    walled = False

    def address(self, network, host):
        return f"127.57.{NETWORKS.index(network) + 1}.{host}"

    def prefix(self, network):
        return ()

    def make(self, hosts):
        pass

    def remove(self):
        pass

    def left(self):
        return []
