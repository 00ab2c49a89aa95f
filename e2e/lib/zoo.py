"""A certificate zoo, bred with the openssl command line: certificates and chains of every kind that
a node must refuse, and some that only look wrong."""
import base64
import itertools
import pathlib
import random

from postern import run
from rogue import AUTHORITY_SETTINGS, stamp

DAY = 86400
GOOD = {"basicConstraints": "critical,CA:FALSE", "keyUsage": "critical,digitalSignature",
        "extendedKeyUsage": "serverAuth,clientAuth", "subjectAltName": "DNS:{name}"}
INTERMEDIATE = {"basicConstraints": "critical,CA:TRUE", "keyUsage": "critical,keyCertSign,cRLSign",
                "extendedKeyUsage": None, "subjectAltName": None}


def der(tag, body):
    size = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
    return bytes([tag]) + size + body


def raw_san(*names):
    """A subjectAltName whose dNSNames are these bytes, whatever openssl thinks of them."""
    return "DER:" + der(0x30, b"".join(der(0x82, name) for name in names)).hex()


def new_key(path, kind="P-256"):
    how = (["RSA", "-pkeyopt", f"rsa_keygen_bits:{kind[4:]}"] if kind.startswith("rsa:") else
           [kind] if kind in ("ed25519", "ed448") else ["EC", "-pkeyopt", f"ec_paramgen_curve:{kind}"])
    run(["openssl", "genpkey", "-quiet", "-algorithm", *how, "-out", path])
    path.chmod(0o600)
    return path


class Issuer:
    """Who signs: a key, its certificate, and the intermediates that a leaf must show with it."""

    def __init__(self, folder, key, certificate, shown=()):
        self.folder, self.key, self.certificate = pathlib.Path(folder), key, certificate
        self.shown = list(shown)
        self._numbers = itertools.count()
        self.folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def root(cls, folder, subject="/CN=Another CA"):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True)
        key, certificate = new_key(folder / "ca.key"), folder / "ca.pem"
        run(["openssl", "req", "-x509", "-new", "-key", key, "-out", certificate, "-days", "30",
             "-subj", subject, "-addext", "keyUsage=critical,keyCertSign,cRLSign"])
        return cls(folder, key, certificate)

    def issue(self, name, shown=None, **how):
        """(key file, chain file) of a leaf."""
        key, certificate = self._sign(name, {**GOOD}, **how)
        chain = certificate.with_name("chain.pem")
        parts = [certificate, *(self.shown if shown is None else shown)]
        chain.write_text("".join(part.read_text() for part in parts))
        return key, chain

    def intermediate(self, name, **how):
        key, certificate = self._sign(name, dict(INTERMEDIATE), **how)
        return Issuer(certificate.parent, key, certificate, [certificate, *self.shown])

    def _sign(self, name, extensions, not_before=-3600, not_after=DAY, key="P-256", digest="sha256",
              subject=None, bare=False, **changes):
        """`changes` replace extensions, or leave one out with None; `bare` has none (version 1)."""
        folder = self.folder / f"{next(self._numbers)}-{name[:40]}"
        folder.mkdir()
        key_file = new_key(folder / "key.pem", key)
        (folder / "index").write_text("")
        (folder / "serial").write_text(f"{random.SystemRandom().getrandbits(62) | 1 << 62:016x}\n")
        extensions.update(changes)
        # Dotted numbers cannot be names of arguments.
        lines = [f"{kind.replace('oid_', '').replace('_', '.')} = {value.replace('{name}', name)}"
                 for kind, value in extensions.items() if value is not None]
        settings = folder / "openssl.cnf"
        settings.write_text(AUTHORITY_SETTINGS.format(
            folder=folder, certificate=self.certificate, key=self.key, digest=digest,
            extensions="\n".join(lines)))
        request, certificate = folder / "request.pem", folder / "certificate.pem"
        run(["openssl", "req", "-new", "-key", key_file, "-out", request, "-subj",
             f"/CN={(subject or name)[:64]}"])
        run(["openssl", "ca", "-batch", "-notext", "-config", settings,
             *([] if bare else ["-extensions", "leaf"]), "-in", request, "-out", certificate,
             "-startdate", stamp(not_before), "-enddate", stamp(not_after)])
        return key_file, certificate


def self_signed(name, folder):
    folder.mkdir(parents=True)
    key, chain = new_key(folder / "key.pem"), folder / "chain.pem"
    run(["openssl", "req", "-x509", "-new", "-key", key, "-out", chain, "-days", "30", "-subj",
         f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-addext",
         "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=critical,digitalSignature",
         "-addext", "extendedKeyUsage=serverAuth,clientAuth"])
    return key, chain


def tampered(key, chain):
    """The same with one bit of the CA's signature turned."""
    lines = chain.read_text().split("-----")
    body = bytearray(base64.b64decode("".join(lines[2].split())))
    body[-1] ^= 1
    lines[2] = "\n" + base64.encodebytes(body).decode()
    chain.write_text("-----".join(lines))
    return key, chain


def subject_of(certificate):
    line = run(["openssl", "x509", "-in", certificate, "-noout", "-subject", "-nameopt", "compat"]).out
    return line.split("subject=", 1)[1].strip()


class Zoo:
    """Made one by one on demand, so that a test may breed them at the same time."""

    def __init__(self, folder, server):
        self.folder = pathlib.Path(folder)
        self.ours = Issuer(self.folder / "ours", server.state / "ca.key", server.state / "ca.pem")
        self.other = Issuer.root(self.folder / "other")
        self.impostor = Issuer.root(self.folder / "impostor", subject_of(self.ours.certificate))
        self.site = self.ours.intermediate("Site CA")

    def under(self, leaf, ca=None, **how):
        """A leaf for the name of an intermediate of its own, made this way."""
        return self.ours.intermediate(ca or f"CA of {leaf}", **how).issue(leaf)

    def leaf_of_a_leaf(self, name):
        key, chain = self.ours.issue("lender.dmz.example")
        return Issuer(chain.parent, key, chain, [chain]).issue(name)

    def too_long(self, name):
        # The group's own root allows one intermediate.
        return self.site.intermediate("Sub CA").issue(name)


# (first label of the name, what is wrong, reason of both sides and of the tool, how to make it).
REFUSED = [
    ("stranger", "unknown CA", "unknown_ca", lambda zoo, n: zoo.other.issue(n)),
    ("selfmade", "self-signed", "unknown_ca", lambda zoo, n: self_signed(n, zoo.folder / "selfmade")),
    ("gapped", "missing intermediate", "unknown_ca", lambda zoo, n: zoo.site.issue(n, shown=[])),
    ("mistaken", "the intermediate of another CA in the chain", "unknown_ca",
     lambda zoo, n: zoo.site.issue(n, shown=[zoo.other.certificate])),
    ("late", "expired", "expired", lambda zoo, n: zoo.ours.issue(n, not_before=-2 * DAY, not_after=-DAY)),
    ("justlate", "expired a minute ago", "expired",
     lambda zoo, n: zoo.ours.issue(n, not_before=-DAY, not_after=-60)),
    ("early", "not yet valid", "not_yet_valid",
     lambda zoo, n: zoo.ours.issue(n, not_before=DAY, not_after=2 * DAY)),
    ("oldissuer", "expired intermediate", "issuer_expired",
     lambda zoo, n: zoo.under(n, not_before=-2 * DAY, not_after=-DAY)),
    ("newissuer", "intermediate not yet valid", "issuer_not_yet_valid",
     lambda zoo, n: zoo.under(n, not_before=DAY, not_after=2 * DAY)),
    ("alias", "wrong name", "wrong_name", lambda zoo, n: zoo.ours.issue("somebody.dmz.example")),
    ("longer", "a name that ends with ours", "wrong_name", lambda zoo, n: zoo.ours.issue("x" + n)),
    ("dotted", "our name and a dot", "wrong_name",
     lambda zoo, n: zoo.ours.issue(n, subjectAltName="DNS:{name}.")),
    ("wild", "wildcard", "wrong_name",
     lambda zoo, n: zoo.ours.issue(n, subjectAltName="DNS:*.dmz.example")),
    ("commoner", "name in the common name only", "wrong_name",
     lambda zoo, n: zoo.ours.issue(n, subjectAltName=None)),
    ("numeric", "IP address only", "wrong_name",
     lambda zoo, n: zoo.ours.issue(n, subjectAltName="IP:127.0.0.1")),
    ("mailed", "name as URI and e-mail only", "wrong_name",
     lambda zoo, n: zoo.ours.issue(n, subjectAltName="URI:https://{name}/,email:root@{name}")),
    ("nobody", "empty list of names", "wrong_name", lambda zoo, n: zoo.ours.issue(n, subjectAltName=raw_san())),
    ("ancient", "version 1, no extensions", "wrong_name", lambda zoo, n: zoo.ours.issue(n, bare=True)),
    ("onesided", "serverAuth only", "wrong_usage",
     lambda zoo, n: zoo.ours.issue(n, extendedKeyUsage="serverAuth")),
    ("coder", "codeSigning only", "wrong_usage",
     lambda zoo, n: zoo.ours.issue(n, extendedKeyUsage="codeSigning")),
    ("cipher", "key usage keyEncipherment only", "wrong_usage",
     lambda zoo, n: zoo.ours.issue(n, keyUsage="critical,keyEncipherment")),
    ("agreed", "key usage without digitalSignature", "wrong_usage",
     lambda zoo, n: zoo.ours.issue(n, keyUsage="critical,keyAgreement,dataEncipherment")),
    ("mailissuer", "intermediate for e-mail only", "wrong_usage",
     lambda zoo, n: zoo.under(n, extendedKeyUsage="emailProtection")),
    ("weak", "RSA with 1024 bits", "weak_key", lambda zoo, n: zoo.ours.issue(n, key="rsa:1024")),
    ("weakissuer", "intermediate with 1024 bits", "weak_key", lambda zoo, n: zoo.under(n, key="rsa:1024")),
    ("sha1", "SHA-1 signature", "weak_signature", lambda zoo, n: zoo.ours.issue(n, digest="sha1")),
    ("sha1issuer", "intermediate with a SHA-1 signature", "weak_signature",
     lambda zoo, n: zoo.under(n, digest="sha1")),
    ("authority", "a CA's certificate as leaf", "not_an_end_entity",
     lambda zoo, n: zoo.ours.issue(n, basicConstraints="critical,CA:TRUE",
                                   keyUsage="critical,digitalSignature,keyCertSign")),
    ("grandchild", "signed by a leaf", "bad_chain", lambda zoo, n: zoo.leaf_of_a_leaf(n)),
    ("nosigner", "intermediate without keyCertSign", "bad_chain",
     lambda zoo, n: zoo.under(n, keyUsage="critical,digitalSignature")),
    ("toolong", "path longer than the root allows", "bad_chain", lambda zoo, n: zoo.too_long(n)),
    ("fenced", "intermediate limited to other names", "bad_chain",
     lambda zoo, n: zoo.under(n, nameConstraints="critical,permitted;DNS:elsewhere.example")),
    ("critical", "unknown critical extension", "bad_chain",
     lambda zoo, n: zoo.ours.issue(n, oid_1_2_3_4="critical,ASN1:UTF8String:what is this")),
    ("turned", "one bit of the signature turned", "bad_chain", lambda zoo, n: tampered(*zoo.ours.issue(n))),
    ("impostor", "a CA that has our CA's name", "unknown_ca", lambda zoo, n: zoo.impostor.issue(n)),
]

# No node of ours would load them: a client of the test's own shows them.
MALFORMED = [
    ("zero", "a zero byte in the name", lambda zoo, n: zoo.ours.issue(
        n, subjectAltName=raw_san(n.encode() + b"\0.evil.example"))),
    ("belled", "a control character in the name", lambda zoo, n: zoo.ours.issue(
        n, subjectAltName=raw_san(n.encode() + b"\x07"))),
    ("endless", "a name of 300 bytes", lambda zoo, n: zoo.ours.issue(
        n, subjectAltName=raw_san(b"a." * 146 + b"example!"))),
    ("blank", "an empty name", lambda zoo, n: zoo.ours.issue(n, subjectAltName=raw_san(b""))),
    ("snowy", "a name that is not ASCII", lambda zoo, n: zoo.ours.issue(
        n, subjectAltName=raw_san("\u2603.dmz.example".encode()))),
    ("crowd", "300 names", lambda zoo, n: zoo.ours.issue(
        n, subjectAltName=raw_san(n.encode(), *(b"n%d.dmz.example" % i for i in range(300))))),
]

# They only look wrong, or not even that: nothing but the administrator's word is missing.
TAKEN = [
    ("plain", "nothing is wrong", lambda zoo, n: zoo.ours.issue(n)),
    ("bridged", "an intermediate", lambda zoo, n: zoo.site.issue(n)),
    ("shouting", "the name in capital letters", lambda zoo, n: zoo.ours.issue(
        n, subjectAltName="DNS:SHOUTING.DMZ.EXAMPLE")),
    ("second", "two names, ours is the second", lambda zoo, n: zoo.ours.issue(
        n, subjectAltName="DNS:first.dmz.example,DNS:{name}")),
    ("unlimited", "no extended key usage", lambda zoo, n: zoo.ours.issue(n, extendedKeyUsage=None)),
    ("anyusage", "any extended key usage", lambda zoo, n: zoo.ours.issue(
        n, extendedKeyUsage="anyExtendedKeyUsage")),
    ("dialler", "clientAuth only, for an agent", lambda zoo, n: zoo.ours.issue(
        n, extendedKeyUsage="clientAuth")),
    ("rsa", "RSA with 4096 bits", lambda zoo, n: zoo.ours.issue(n, key="rsa:4096")),
    ("edwards", "Ed25519", lambda zoo, n: zoo.ours.issue(n, key="ed25519")),
    ("nist", "EC P-384", lambda zoo, n: zoo.ours.issue(n, key="P-384")),
]

# Curves and keys that TLS 1.3 cannot sign with: such a node says so itself and does not start.
UNUSABLE = [
    ("koblitz", "EC secp256k1", lambda zoo, n: zoo.ours.issue(n, key="secp256k1")),
    ("short", "EC P-224", lambda zoo, n: zoo.ours.issue(n, key="P-224")),
]

# What a gateway shows to its child.
OF_PARENTS = [
    ("gwlate", "expired", "expired", lambda zoo, n: zoo.ours.issue(n, not_before=-2 * DAY, not_after=-DAY)),
    ("gwdialler", "clientAuth only", "wrong_usage",
     lambda zoo, n: zoo.ours.issue(n, extendedKeyUsage="clientAuth")),
    ("gwweak", "RSA with 1024 bits", "weak_key", lambda zoo, n: zoo.ours.issue(n, key="rsa:1024")),
    ("gwturned", "one bit of the signature turned", "bad_chain", lambda zoo, n: tampered(*zoo.ours.issue(n))),
]
