"""Those who do it wrong: certificates of every wrong kind, made with the openssl command line and the
group's own authority, and clients that speak the channel (docs/formats/channel.md) by hand."""
import datetime
import hashlib
import os
import pathlib
import random
import select
import shutil
import socket
import ssl
import struct
import subprocess
import time

import archive
import otlp
from postern import Failure, expect, run

HELLO, WELCOME, REFUSED = 1, 2, 3
CRITICAL = 1
FRAME_BODY_MAX = 65536
REASONS = ("unknown no_certificate unknown_ca expired not_yet_valid wrong_name wrong_usage bad_certificate "
           "wrong_group version pending_approval rejected removed not_a_parent wrong_role clash bad_proof "
           "protocol busy loop stopping wrong_parent superseded issuer_expired issuer_not_yet_valid bad_chain "
           "weak_key weak_signature not_an_end_entity malformed revoked").split()
AGENT, GATEWAY, SERVER = 1, 2, 3
CHILD, PARENT = 1, 2
# Half of the order of P-256: signatures are the one of two whose s is below it (batch.md).
P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551

AUTHORITY_SETTINGS = """[ca]
default_ca = this
[this]
database = {folder}/index
serial = {folder}/serial
new_certs_dir = {folder}
certificate = {certificate}
private_key = {key}
default_md = {digest}
policy = anything
unique_subject = no
copy_extensions = none
[anything]
commonName = supplied
[leaf]
{extensions}
"""
GOOD = {"basicConstraints": "critical,CA:FALSE", "keyUsage": "critical,digitalSignature",
        "extendedKeyUsage": "serverAuth,clientAuth"}


def stamp(offset):
    """So many seconds from now, as openssl wants to hear it."""
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=offset)
    return at.strftime("%Y%m%d%H%M%SZ")


class Authority:
    """A certificate authority by openssl: the group's own (its key lies in the server's state
    folder), or one of its own making."""

    def __init__(self, folder, key=None, certificate=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.key, self.certificate = key, certificate
        if key is None:
            self.key, self.certificate = self.folder / "ca.key", self.folder / "ca.pem"
            run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                 "-nodes", "-keyout", self.key, "-out", self.certificate, "-days", "30", "-subj",
                 "/CN=Another CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign"])
        (self.folder / "index").write_text("")
        (self.folder / "serial").write_text(f"{random.SystemRandom().getrandbits(62) | 1 << 62:016x}\n")

    def issue(self, name, folder, not_before=-3600, not_after=86400, usage=None, **extensions):
        """(key file, chain file) in `folder`; times are seconds from now. `extensions`: OpenSSL's
        names of what stands in the certificate; None leaves one out."""
        found = {**GOOD, "subjectAltName": f"DNS:{name}", **extensions}
        if usage:
            found["extendedKeyUsage"] = usage
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        key, request, chain = folder / "key.pem", folder / "request.pem", folder / "chain.pem"
        settings = folder / "openssl.cnf"
        settings.write_text(AUTHORITY_SETTINGS.format(
            folder=self.folder, certificate=self.certificate, key=self.key, digest="sha256",
            extensions="\n".join(f"{key} = {value}" for key, value in found.items() if value)))
        run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={name}"])
        run(["openssl", "ca", "-batch", "-notext", "-config", settings, "-extensions", "leaf", "-in",
             request, "-out", chain, "-startdate", stamp(not_before), "-enddate", stamp(not_after)])
        key.chmod(0o600)
        return key, chain

    def revoke(self, chain, settings):
        """`settings`: the file that issue() left beside the chain."""
        run(["openssl", "ca", "-config", settings, "-revoke", chain])

    def revocation_list(self, settings, to, seconds=86400):
        """The list as it is now, put in place at once."""
        made = to.with_name(f"{to.name}.new")
        run(["openssl", "ca", "-config", settings, "-gencrl", "-crlsec", seconds, "-out", made])
        made.replace(to)


def group_authority(server, folder):
    return Authority(folder, server.state / "ca.key", server.state / "ca.pem")


def plant(machine, pattern, key, chain, anchors=None):
    """Puts a key and certificate where the import would never let them go; anchors and group root
    as `pattern`, a machine of the group, has them."""
    machine.state.mkdir(mode=0o700, exist_ok=True)
    (machine.state / "tls").mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(key, machine.state / "tls/key.pem")
    (machine.state / "tls/key.pem").chmod(0o600)
    shutil.copyfile(chain, machine.state / "tls/chain.pem")
    shutil.copyfile(anchors or pattern.state / "anchors.pem", machine.state / "anchors.pem")
    shutil.copyfile(pattern.state / "group.pem", machine.state / "group.pem")


# ---- the channel by hand -------------------------------------------------------------------------

def frame(kind, body, flags=CRITICAL, lane=0, length=None):
    return struct.pack("<IBBBB", len(body) if length is None else length, kind, flags, lane, 0) + body


def read_refused(body):
    """(reason word, words, refuser)."""
    code = otlp.first(body, 1, otlp.VARINT, 0)
    return REASONS[code] if code < len(REASONS) else str(code), otlp.text(body, 2), otlp.text(body, 5)


class Client:
    """A TLS client of ours, with or without a certificate."""

    def __init__(self, machine, key=None, chain=None, alpn="postern/1", seconds=15):
        self.raw = socket.create_connection((machine.address, machine.port), timeout=seconds)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if alpn:
            context.set_alpn_protocols([alpn])
        if key:
            context.load_cert_chain(chain, key)
        self.tls = context.wrap_socket(self.raw, server_hostname=machine.name)
        self.local = "%s:%d" % self.tls.getsockname()

    def send(self, data):
        self.tls.sendall(data)

    def read(self, size):
        data = b""
        while len(data) < size:
            piece = self.tls.recv(size - len(data))
            if not piece:
                raise Failure(f"the connection ended after {len(data)} of {size} bytes")
            data += piece
        return data

    def read_frame(self):
        """(type, body)."""
        length, kind, _, _, _ = struct.unpack("<IBBBB", self.read(8))
        return kind, self.read(length)

    def refusal(self):
        """(reason, words, refuser) of the only frame that comes; then the connection ends."""
        kind, body = self.read_frame()
        expect(kind == REFUSED, f"the answer is a frame of type {kind}")
        try:
            rest = self.tls.recv(1)
        except (ConnectionResetError, ssl.SSLError):
            rest = b""
        expect(rest == b"", "something came after refused")
        return read_refused(body)

    def close(self):
        self.tls.close()


class ExportingClient:
    """The same through `openssl s_client`, which tells the channel's exporter (channel.md#W22)."""

    LABEL = "EXPORTER-postern-channel"
    MARK = b"Keying material: "

    def __init__(self, machine, key, chain):
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"{machine.address}:{machine.port}", "-tls1_3", "-alpn",
             "postern/1", "-servername", machine.name, "-cert", str(chain), "-key", str(key),
             "-keymatexport", self.LABEL, "-keymatexportlen", "32", "-nocommands", "-ign_eof"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.seen = b""
        self._read_until(lambda: self.MARK in self.seen and self.seen.count(b"\n---\n", self.seen.index(self.MARK)))
        start = self.seen.index(self.MARK) + len(self.MARK)
        self.exporter = bytes.fromhex(self.seen[start:start + 64].decode())
        self.seen = self.seen[self.seen.index(b"\n---\n", start) + len(b"\n---\n"):]

    def _read_until(self, done, seconds=10):
        end = time.monotonic() + seconds
        while not done():
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not piece:
                raise Failure(f"openssl s_client said only:\n{self.seen!r}")
            self.seen += piece

    def send(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def refusal(self):
        def frame_at():
            # s_client may write words of its own (a session ticket) before the frame.
            at = self.seen.find(bytes([REFUSED, CRITICAL, 0, 0]))
            if at < 4:
                return None
            (length,) = struct.unpack_from("<I", self.seen, at - 4)
            return (at + 4, length) if len(self.seen) >= at + 4 + length else None
        self._read_until(frame_at)
        at, length = frame_at()
        return read_refused(self.seen[at:at + length])

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Identity:
    """An identity key of our own making (batch.md#B1)."""

    def __init__(self, folder):
        self.key = pathlib.Path(folder) / "identity.pem"
        run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out",
             self.key])
        self.spki = subprocess.run(["openssl", "pkey", "-in", self.key, "-pubout", "-outform", "DER"],
                                   stdout=subprocess.PIPE, check=True).stdout

    def sign(self, context, signed):
        der = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key],
                             input=context.encode() + b"\0" + signed, stdout=subprocess.PIPE,
                             check=True).stdout
        numbers, at = [], 2
        for _ in range(2):
            size = der[at + 1]
            numbers.append(int.from_bytes(der[at + 2:at + 2 + size], "big"))
            at += 2 + size
        r, s = numbers
        raw = r.to_bytes(32, "big") + min(s, P256_ORDER - s).to_bytes(32, "big")
        expect(archive.verifies(self.spki, context, signed, raw), "our own signature does not verify")
        return raw


def key_sha256(chain):
    """SHA-256 of a certificate's SubjectPublicKeyInfo."""
    public = run(["openssl", "x509", "-in", chain, "-noout", "-pubkey"]).out
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=public.encode(),
                         stdout=subprocess.PIPE, check=True).stdout
    return hashlib.sha256(der).digest()


def hello(identity, exporter, chain, name, group, role=AGENT, claim=CHILD, versions=(0, 0),
          stated_name=None, stated_chain=None, stated_group=None, stated_by=None, proved_by=None, spki=None):
    """A hello that is right in all the rest (channel.md#W20 to W26)."""
    now = int(time.time() * 1000)
    pinned = [(2, stated_group)] if stated_group else []
    statement = otlp.message((1, now), *pinned, (3, stated_name or name),
                             (4, key_sha256(stated_chain or chain)), (5, now))
    signed = otlp.message((1, statement),
                          (2, (stated_by or identity).sign("postern statement v1", statement)))
    proof = (proved_by or identity).sign("postern channel v1", exporter + b"\0")
    return frame(HELLO, otlp.message(
        (1, versions[0]), (2, versions[1]), (3, group), (4, role), (5, claim), (6, name),
        (7, identity.spki if spki is None else spki), (8, signed), (9, proof),
        (10, ("fixed64", random.getrandbits(63) | 1)), (12, 0), (13, 1), (16, "rogue")))
