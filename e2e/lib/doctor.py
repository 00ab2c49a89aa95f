"""`postern doctor`, as tests ask it, and peers that it must see through."""
import email.utils
import json
import socket
import ssl
import threading
import time

from postern import Failure, expect

VERDICTS = {"pass", "warning", "fail", "not_reached"}
# Of every node, and of every parent of it; of the certificates one step a requirement.
OWN_STEPS = ["configuration", "own_name", "own_name_resolution", "state_folder", "own_certificate",
             "group_root", "program", "room"]
PARENT_STEPS = ["parent_resolution", "connect", "interception", "tls", "parent_certificate",
                "own_certificate_at_parent", "clock", "approval", "group", "version"]


class Diagnosis:
    """What it said, and with what status."""

    def __init__(self, done):
        self.done, self.status = done, done.status
        self.answer = json.loads(done.out)
        self.steps = [step for node in self.answer["nodes"] for step in node["steps"]]
        self.conclusion = self.answer["conclusion"] or {"id": "", "reason": "ok", "words": "", "fix": ""}

    def __str__(self):
        return str(self.done)

    def step(self, step_id):
        for step in self.steps:
            if step["id"] == step_id:
                return step
        raise Failure(f"there is no step {step_id} in:\n{self}")

    def found(self, step_id, verdict="pass", reason=None):
        step = self.step(step_id)
        reason = reason or {"pass": "ok", "not_reached": "not_reached"}.get(verdict)
        expect(step["verdict"] == verdict and step["reason"] == reason,
               f"{step_id} is {step['verdict']} ({step['reason']}), not {verdict} ({reason}):\n{self}")
        return step

    def concludes(self, step_id, reason, status=1):
        got = (self.conclusion["id"], self.conclusion["reason"], self.status)
        expect(got == (step_id, reason, status),
               f"it concludes {got}, not {(step_id, reason, status)}:\n{self}")
        expect(self.answer["passed"] == (status == 0), f"passed does not fit the status:\n{self}")
        if reason != "ok":
            expect(self.conclusion["words"] and self.conclusion["fix"], f"no words or no way out:\n{self}")
            print(f"    {self.conclusion['words']}; {self.conclusion['fix']}")
        return self


def doctor(machine, *arguments, runner=None, **options):
    """Of a machine of the group, in JSON."""
    return Diagnosis((runner or machine).run(
        "postern", "--output", "json", "doctor", "--config", machine.config, *arguments, status=None,
        **options))


def check_form(diagnosis, parents):
    """Every step is there once, in its order, with its verdict."""
    expected = OWN_STEPS[:-1] + PARENT_STEPS * parents + OWN_STEPS[-1:]
    seen = []
    for step in diagnosis.steps:
        expect(set(step) == {"id", "parent", "verdict", "reason", "words", "fix"}, f"members: {step}")
        expect(step["verdict"] in VERDICTS and step["words"], f"verdict or words: {step}")
        name = step["id"].split(".")[0]
        if not seen or seen[-1] != name:
            seen.append(name)
    expect(seen == expected, f"the steps are {seen}, not {expected}")


class Stranger:
    """Listens in the parent's place. `serve(connection)` talks to each that comes."""

    def __init__(self, address, serve):
        self.address, self.serve = address, serve
        self.socket = socket.create_server((address, 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        try:
            with connection:
                self.serve(connection)
        except OSError:
            pass  # it went away, as they do

    def close(self):
        self.socket.close()


def drain(connection):
    while connection.recv(4096):
        pass


def http_proxy(connection):
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    drain(connection)


def mail_server(connection):
    connection.sendall(b"220 mail.example ESMTP\r\n")
    drain(connection)


def tls_peer(key, chain, clock_ahead=0.0, versions=None, protocols=("postern/1", "http/1.1")):
    """Shows this certificate, says nothing on the channel, and answers HTTP with a Date."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if versions:
        context.minimum_version, context.maximum_version = versions

    def serve(connection):
        with context.wrap_socket(connection, server_side=True) as tls:
            if tls.selected_alpn_protocol() != "http/1.1":
                drain(tls)
                return
            tls.recv(4096)
            date = email.utils.formatdate(time.time() + clock_ahead, usegmt=True)
            tls.sendall(f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 6\r\n"
                        "Connection: close\r\n\r\nalive\n".encode())
    return serve
