"""A PostgreSQL for a test: in a temporary folder, reached by a Unix socket there."""
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

from postern import Failure, expect, poll

USER = "postgres"


class Cluster:
    """Its server is a daemon of the group: ended with it, shown when a test fails."""

    def __init__(self, group):
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"),
                       key=lambda path: int(path.parts[-3]))
        expect(found, "no PostgreSQL in /usr/lib/postgresql/*/bin; install it (./dev setup)")
        self.binaries = found[-1].parent
        # PostgreSQL refuses root; whoever it is then must reach the folder.
        self.as_user = []
        if os.geteuid() == 0:
            self.as_user = ["setpriv", f"--reuid={USER}", f"--regid={pwd.getpwnam(USER).pw_gid}",
                            "--clear-groups", "--pdeathsig", "KILL"]
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="e2e-pg-", dir="/tmp"))
        if self.as_user:
            shutil.chown(self.folder, USER)
        self.run("initdb", "-D", self.folder / "data", "-U", USER, "--auth=trust", "-E", "UTF8",
                 "--locale=C", "--no-sync")
        self.daemon = group.daemon(
            "postgresql", [*self.as_user, self.binaries / "postgres", "-D", self.folder / "data",
                           "-c", "listen_addresses=", "-c", f"unix_socket_directories={self.folder}"],
            group.folder / "postgresql.log")

    def run(self, program, *arguments):
        done = subprocess.run([*self.as_user, self.binaries / program, *arguments], text=True,
                              capture_output=True, cwd="/", check=False)
        if done.returncode != 0:
            raise Failure(f"{program}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def start(self):
        self.daemon.start()
        poll("PostgreSQL answers", lambda: self.run("pg_isready", "-h", self.folder) or True)

    def kill(self):
        """Every process of it, as a power cut would."""
        self.daemon.kill()  # its children notice at once and go without a word
        (self.folder / "data/postmaster.pid").unlink()
        poll("PostgreSQL is gone", lambda: not self._children())

    def _children(self):
        found = subprocess.run(["pgrep", "-f", str(self.folder)], capture_output=True, check=False)
        return found.stdout.split()

    def ask(self, database, sql):
        return self.run("psql", "-h", self.folder, "-U", USER, "-d", database, "-Atqc",
                        f"SET search_path = postern, public; {sql}")

    def make_database(self, name):
        self.ask("postgres", f"CREATE ROLE {name} LOGIN")
        self.run("createdb", "-h", self.folder, "-U", USER, "-O", name, "-E", "UTF8", "-T",
                 "template0", name)
        return f"postgresql:///{name}?host={self.folder}&user={name}"

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
