#!/usr/bin/env python3
"""What an operator has at a terminal: manual pages, completion by Tab in bash and zsh, tables as wide as the
terminal, and --watch that ends by Ctrl-C."""
import fcntl
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from postern import BIN, expect, expect_in, main, poll, run  # noqa: E402

SHARE = BIN.parent / "share"
PAGES = {"postern": 1, "postern-agent": 8, "postern-gateway": 8, "postern-server": 8}
COLUMNS = 64
COMPLETE = r"""
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_postern
printf '%s\n' "${COMPREPLY[@]}"
"""


def pages_are_sound():
    for name, section in PAGES.items():
        page = SHARE / f"man/man{section}/{name}.{section}"
        text = page.read_text()
        for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "FILES", "ENVIRONMENT",
                        "EXAMPLES", "SEE ALSO"):
            expect(f".SH {heading}\n" in text, f"{page} has no {heading}")
        if shutil.which("mandoc"):
            done = run(["mandoc", "-T", "lint", "-W", "warning", page], status=None)
            rest = [line for line in done.text.splitlines() if "missing date" not in line]
            expect(not rest, f"mandoc: {rest}")
        if shutil.which("man"):
            done = run(["man", "--warnings", "-E", "UTF-8", "-l", page], env=dict(os.environ, MANPAGER="cat"))
            expect(done.err == "", f"man --warnings: {done.err}")


def verbs_of(program, *path):
    """What --help lists."""
    text = run([BIN / program, *path, "--help"]).out
    found = re.search(r"^Subcommands:\n((?:  .*\n)+)", text, re.M)
    return re.findall(r"^  (\S+)", found[1], re.M) if found else []


def pages_know_every_verb():
    page = (SHARE / "man/man1/postern.1").read_text().replace("\\-", "-")
    count = 0
    for group in verbs_of("postern"):
        for verb in verbs_of("postern", group) or [""]:
            path = f"{group} {verb}".strip()
            expect(f".SS {path}\n" in page, f"postern.1 does not know {path}")
            expect_in("Example:\n", run([BIN / "postern", *path.split(), "--help"]).out, path)
            count += 1
    expect(count > 25, f"{count} verbs")


def completed(env, *words):
    script = SHARE / "bash-completion/completions/postern"
    done = run(["bash", "-c", COMPLETE, "complete", script, "postern", *words], env=env)
    return sorted(done.out.split())


def bash_completes(env):
    for name in PAGES:
        run(["bash", "-n", SHARE / f"bash-completion/completions/{name}"])
    installed = (SHARE / "bash-completion/completions/postern").read_text()
    expect(run([BIN / "postern", "completion", "bash"]).out == installed, "two scripts")
    expect({"gateway", "agent", "inventory"} <= set(completed(env, "")), str(completed(env, "")))
    expect(completed(env, "gate") == ["gateway"], str(completed(env, "gate")))
    expect("approve" in completed(env, "gateway", ""), "gateway's verbs")
    expect("--parent" in completed(env, "agent", "approve", "x", "--p"), "an option")
    expect("--output" in completed(env, "agent", "approve", "x", "--o"), "an option of all verbs")
    for words in (("--output", ""), ("inventory", "--output", "="), ("inventory", "--output", "=", "")):
        expect(completed(env, *words) == ["json", "table", "yaml"], f"{words}: {completed(env, *words)}")
    expect(completed(env, "--output", "json", "inven") == ["inventory"], "behind an option's value")
    expect(completed(env, "gateway", "show", "gw") == ["gw1.dmz.example"], "a gateway's name")
    expect(completed(env, "agent", "show", "") == ["a1.dmz.example"], "an agent's name")
    expect(completed(env, "loss", "list", "--node", "a1") == ["a1.dmz.example"], "a node's name")
    away = dict(env, POSTERN_SERVER="unix:/nobody")
    expect(completed(away, "gateway", "show", "gw") == [], "a server that is away")


def zsh_takes_it():
    if not shutil.which("zsh"):
        return
    for name in PAGES:
        run(["zsh", "-n", SHARE / f"zsh/vendor-completions/_{name}"])
    expect(run([BIN / "postern", "completion", "zsh"]).out ==
           (SHARE / "zsh/vendor-completions/_postern").read_text(), "two scripts")
    # What the completion system would be given, told by stand-ins for its own functions.
    script = f"""
      compdef() {{ : }}; compset() {{ : }}
      _describe() {{ [[ $1 == -o ]] && shift; print -l -- "${{(@P)2}}" }}
      compadd() {{ shift; print -l -- "$@" }}
      source {SHARE}/zsh/vendor-completions/_postern
      for line in 'postern ' 'postern gateway ' 'postern --output ' 'postern gateway approve x --par'; do
        words=("${{(@s: :)line}}") CURRENT=$#words
        _postern
        print -- ---
      done"""
    verbs, gateway, output, options = run(["zsh", "-f", "-c", script]).out.split("---\n")[:4]
    expect_in("inventory:", verbs, "zsh: verbs")
    expect_in("approve:", gateway, "zsh: verbs of gateway")
    expect(output.split() == ["table", "json", "yaml"], f"zsh: values {output}")
    expect_in("--parent:", options, "zsh: options")


class Terminal:
    """A command on a terminal of COLUMNS columns."""

    def __init__(self, command, env):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        self.master, self.text = master, ""
        self.process = subprocess.Popen([str(part) for part in command], stdin=slave, stdout=slave, stderr=slave,
                                        env=env, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)

    def read(self):
        while select.select([self.master], [], [], 0.05)[0]:
            try:
                got = os.read(self.master, 65536)
            except OSError:
                break
            if not got:
                break
            self.text += got.decode()
        return self.text

    def press(self, key):
        os.write(self.master, key)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)
        os.close(self.master)


def watch_ends_by_ctrl_c(env):
    env = {name: value for name, value in env.items() if name != "COLUMNS"}
    terminal = Terminal([BIN / "postern", "topology", "--watch", "1"], env)
    try:
        poll("two pictures", lambda: terminal.read().count("\x1b[2J") >= 2, 15)
        terminal.press(b"\x03")
        poll("it ends", lambda: terminal.process.poll() is not None, 5)
        expect(terminal.process.returncode == 0, f"status {terminal.process.returncode}")
    finally:
        terminal.end()
    lines = terminal.text.replace("\x1b[H\x1b[2J", "").splitlines()
    expect(any("ms" in line for line in lines) and max(map(len, lines)) <= COLUMNS, "\n".join(lines))

    piped = subprocess.Popen([BIN / "postern", "inventory", "--watch", "1"], stdout=subprocess.PIPE, env=env)
    try:
        first = piped.stdout.readline()
        piped.send_signal(signal.SIGINT)
        rest = piped.communicate(timeout=10)[0]
        expect(piped.returncode == 0, f"status {piped.returncode}")
        expect(b"\x1b" not in first + rest, "a file gets no commands for a terminal")
    finally:
        piped.kill()
        piped.wait()


def test(group):
    pages_are_sound()
    pages_know_every_verb()
    zsh_takes_it()
    group.make_server()
    group.start_server()
    group.postern("gateway", "approve", "gw1.dmz.example", "--parent", group.server.name)
    group.postern("agent", "approve", "a1.dmz.example")
    env = group.env(group.server)
    bash_completes(env)
    watch_ends_by_ctrl_c(env)


main(test)
