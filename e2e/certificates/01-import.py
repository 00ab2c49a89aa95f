#!/usr/bin/env python3
"""MOMCertImport finds the certificate among other files, holds it against every requirement, and says
what is wrong (docs/operating/seed-tools.md); what it refuses changes nothing."""
import pathlib
import shutil
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import rogue  # noqa: E402
from postern import IMPORT_TOOL, expect, expect_in, main, run  # noqa: E402

DAY = 86400
DONE, USAGE, NONE_FOUND, NOT_MET = 0, 2, 11, 12


class Import:
    def __init__(self, group):
        self.group, self.count = group, 0
        group.make_server()
        group.start_server()
        self.ours = rogue.group_authority(group.server, group.folder / "our-ca")
        self.other = rogue.Authority(group.folder / "other-ca")
        self.group_file = group.folder / "group.postern"
        group.postern("group", "export", self.group_file)

    def attempt(self, status, *words, name="gw1.dmz.example", key=None, chain=None, group_file=True,
                subject=None, more=(), state=None, arguments=()):
        """A store folder with these files, and one call of the tool on a fresh state folder."""
        self.count += 1
        store = self.group.folder / f"store{self.count}"
        store.mkdir()
        for path, target in ((key, "node.key"), (chain, "node.pem"), *more):
            if path:
                shutil.copyfile(path, store / target)
                (store / target).chmod(0o600)
        if group_file:
            shutil.copyfile(self.group_file, store / "group.postern")
        state = state or self.group.folder / f"state{self.count}"
        server = self.group.server
        done = server.run(IMPORT_TOOL, "/SubjectName", subject or name, "--state", state, *arguments,
                          status=status,
                          env={"POSTERN_CERT_STORE": str(store)})
        for word in words:
            expect_in(word, done.text, f"status {status}")
        installed = (state / "tls/chain.pem").exists()
        expect(installed == (status == DONE) or state.name == "good", f"installed: {installed}; {done}")
        return done

    def issued(self, name="gw1.dmz.example", authority=None, **how):
        self.count += 1
        key, chain = (authority or self.ours).issue(name, self.group.folder / f"issued{self.count}", **how)
        return {"key": key, "chain": chain}


def pkcs12(it):
    """Files as Windows and others export them: with a password, without one, old and new."""
    folder, name = it.group.folder / "pkcs12", "gw1.dmz.example"
    folder.mkdir()
    words = {word: folder / word for word in ("right", "wrong", "open")}
    for word, file in words.items():
        file.write_text(f"{word}\r\n" if word == "right" else word)
        file.chmod(0o644 if word == "open" else 0o600)
    made = it.issued()

    def exported(file, password, *how):
        run(["openssl", "pkcs12", "-export", "-inkey", made["key"], "-in", made["chain"], "-passout",
             f"pass:{password}", "-out", folder / file, *how])
        return folder / file
    new, old = exported("new.pfx", "right"), exported("old.pfx", "right", "-legacy")
    for file in (new, old):
        it.attempt(DONE, arguments=(file, "--password-file", words["right"]))
        for word, status in ((words["wrong"], NOT_MET), (None, NOT_MET)):
            given = ("--password-file", word) if word else ()
            it.attempt(status, "PKCS#12 password", "wrong_password", arguments=(file, *given))
    it.attempt(1, "chmod 600", arguments=(new, "--password-file", words["open"]))
    it.attempt(NONE_FOUND, "--pkcs12", "--password-file", more=((new, "gw1.pfx"),))
    it.attempt(DONE, more=((exported("free.p12", ""), "gw1.p12"),))
    bomb = exported("bomb.pfx", "right", "-iter", "6000000", "-nomaciter", "-certpbe", "NONE")
    started = time.monotonic()
    it.attempt(NOT_MET, "rounds", "malformed", arguments=(bomb, "--password-file", words["right"]))
    expect(time.monotonic() - started < 2, "what asks for too much was tried")

    def verify(status, *words_there, file=new, word="right"):
        done = it.group.server.run("postern", "cert", "verify", "--anchors", it.group_file, "--name", name,
                                   "--password-file", words[word], file, status=status)
        for part in words_there:
            expect_in(part, done.text, f"verify {file.name}")
    verify(0, "pass  PKCS#12 password", "pass  private key")
    verify(0, "pass  PKCS#12 password", file=old)
    verify(0, "opens without one", file=folder / "free.p12")
    verify(1, "FAIL  PKCS#12 password", "(wrong_password)", word="wrong")


def test(group):
    it = Import(group)
    name = "gw1.dmz.example"
    good = it.issued()

    state = group.folder / "good"
    unrelated = it.issued("somebody.dmz.example")
    done = it.attempt(DONE, **good, state=state, more=((unrelated["key"], "a.key"), (unrelated["chain"], "b.crt")))
    expect(f"The certificate of {name} was imported successfully.\n" in done.out, f"{done}")
    expect((state / "tls/key.pem").stat().st_mode & 0o777 == 0o600, "the key's mode")
    done = it.attempt(DONE, "already", **good, state=state)
    it.attempt(DONE, **good, subject=f"CN={name.upper()}")

    it.attempt(NOT_MET, "key", chain=good["chain"])
    it.attempt(NOT_MET, "key", key=unrelated["key"], chain=good["chain"])
    it.attempt(NOT_MET, "expired", **it.issued(not_before=-2 * DAY, not_after=-DAY))
    it.attempt(NOT_MET, "not valid before", **it.issued(not_before=DAY, not_after=2 * DAY))
    it.attempt(NOT_MET, "clientAuth", **it.issued(usage="serverAuth"))
    it.attempt(NOT_MET, "serverAuth", **it.issued(usage="clientAuth"))
    it.attempt(NOT_MET, "Another CA", **it.issued(authority=it.other))
    it.attempt(NOT_MET, "postern group export", **good, group_file=False)
    it.attempt(NONE_FOUND, "gw9.dmz.example", **good, name="gw9.dmz.example")
    it.attempt(NONE_FOUND, "gw1", **good, name="gw1")
    it.attempt(NONE_FOUND, name, group_file=False)

    # A refused one leaves what is installed as it was.
    before = (state / "tls/chain.pem").read_bytes()
    it.attempt(NOT_MET, "expired", **it.issued(not_before=-2 * DAY, not_after=-DAY), state=state)
    expect((state / "tls/chain.pem").read_bytes() == before, "a refused certificate was installed")
    renewed = it.issued()
    it.attempt(DONE, **renewed, state=state)
    expect((state / "tls/chain.pem").read_bytes() != before, "the renewed certificate is not installed")

    pkcs12(it)

    usage = group.server.run(IMPORT_TOOL, status=USAGE)
    expect_in("/SubjectName", usage.err, "no arguments")


main(test)
