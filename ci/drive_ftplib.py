"""Python's ftplib: the commands that scripts use, and their replies."""

import ftplib
import io
from contextlib import contextmanager

from harness import PART, content, same

DATA = content(PART + 999, 5)


@contextmanager
def session(t, passive=True):
    with ftplib.FTP(timeout=60, encoding="utf-8") as ftp:
        ftp.connect(t.host, t.port)
        ftp.login(t.user, t.password)
        ftp.set_pasv(passive)
        yield ftp


def fetch(ftp, path, rest=None):
    got = io.BytesIO()
    ftp.retrbinary(f"RETR {path}", got.write, rest=rest)
    return got.getvalue()


def drive(t, steps):
    def refused(code, command, ftp):
        try:
            reply = ftp.sendcmd(command)
        except ftplib.Error as error:
            assert str(error).startswith(code), f"{command}: {error}"
        else:
            raise AssertionError(f"{command}: {reply}")

    for name, passive in (("passive", True), ("active", False)):
        with steps.step(f"ftplib: storbinary, retrbinary, {name}"), session(t, passive) as ftp:
            reply = ftp.storbinary(f"STOR {name}.bin", io.BytesIO(DATA))
            assert reply.startswith("226"), reply
            t.stored(f"{name}.bin", DATA)
            same(fetch(ftp, f"{name}.bin"), DATA, "RETR")
    with steps.step("ftplib: retrbinary with rest"), session(t) as ftp:
        for rest in (0, 1, PART - 1, PART, len(DATA) - 1):
            same(fetch(ftp, "passive.bin", rest), DATA[rest:], f"REST {rest}")
    with steps.step("ftplib: storlines, retrlines"), session(t) as ftp:
        ftp.storlines("STOR lines.txt", io.BytesIO(b"one\ntwo\nthree\n"))
        lines = []
        ftp.retrlines("RETR lines.txt", lines.append)
        assert lines == ["one", "two", "three"], lines
        stored = t.store.get("lines.txt")
        assert stored.replace(b"\r\n", b"\n") == b"one\ntwo\nthree\n", stored
    with steps.step("ftplib: mkd, mlsd, nlst, dir, rmd"), session(t) as ftp:
        assert ftp.mkd("/lib dir") == "/lib dir"
        ftp.cwd("/lib dir")
        assert ftp.pwd() == "/lib dir", ftp.pwd()
        assert list(entry for entry in ftp.mlsd() if entry[1]["type"] in ("file", "dir")) == []
        ftp.storbinary("STOR ü file", io.BytesIO(b"12345"))
        ftp.mkd("sub")
        facts = {name: facts for name, facts in ftp.mlsd(facts=["type", "size", "modify"])}
        assert facts["ü file"]["type"] == "file" and facts["ü file"]["size"] == "5", facts
        assert facts["sub"]["type"] == "dir" and len(facts["ü file"]["modify"]) >= 14, facts
        assert sorted(ftp.nlst()) == ["sub", "ü file"], ftp.nlst()
        lines = []
        ftp.dir(lines.append)
        assert len(lines) == 2 and any(line.endswith(" ü file") for line in lines), lines
        refused("550", "RMD /lib dir", ftp)
        ftp.delete("ü file")
        ftp.rmd("sub")
        ftp.cwd("/")
        ftp.rmd("lib dir")
        refused("550", "CWD /lib dir", ftp)
    with steps.step("ftplib: size and time are the same in each command"), session(t) as ftp:
        ftp.sendcmd("TYPE I")
        assert ftp.size("passive.bin") == len(DATA)
        time = ftp.sendcmd("MDTM passive.bin").split()[1]
        facts = dict(ftp.mlsd())["passive.bin"]
        assert facts["modify"].split(".")[0] == time.split(".")[0], (facts, time)
        assert int(facts["size"]) == len(DATA), facts
    with steps.step("ftplib: rename over another, delete"), session(t) as ftp:
        ftp.storbinary("STOR target.bin", io.BytesIO(b"old"))
        ftp.rename("active.bin", "target.bin")
        t.stored("target.bin", DATA)
        t.absent("active.bin")
        ftp.delete("target.bin")
        t.absent("target.bin")
        refused("550", "DELE target.bin", ftp)
        refused("550", "RNFR target.bin", ftp)
    with steps.step("ftplib: abort of a download; the session continues"), session(t) as ftp:
        ftp.voidcmd("TYPE I")
        data = ftp.transfercmd("RETR passive.bin")
        data.recv(1000)
        aborted(ftp, data)
        same(fetch(ftp, "passive.bin", 5), DATA[5:], "RETR")
    with steps.step("ftplib: abort of an upload publishes nothing"), session(t) as ftp:
        ftp.storbinary("STOR kept.bin", io.BytesIO(b"kept"))
        for name in ("never.bin", "kept.bin"):
            ftp.voidcmd("TYPE I")
            data = ftp.transfercmd(f"STOR {name}")
            data.sendall(DATA)
            aborted(ftp, data)
        t.absent("never.bin")
        t.stored("kept.bin", b"kept")
        # Removes the interrupted uploads.
        for name in ("never.bin", "kept.bin"):
            ftp.delete(name)
    with steps.step("ftplib: no way out of the root"), session(t) as ftp:
        for path in ("/../../etc/passwd", "../etc/passwd", "/%2e%2e/etc/passwd"):
            refused("550", f"SIZE {path}", ftp)
        ftp.cwd("/../..")
        assert ftp.pwd() == "/", ftp.pwd()
    with steps.step("ftplib: FEAT, OPTS UTF8 ON, SYST, NOOP, HELP, STAT"), session(t) as ftp:
        features = ftp.sendcmd("FEAT")
        for feature in ("UTF8", "EPSV", "SIZE", "MDTM", "REST STREAM", "MLST"):
            assert feature in features, features
        for command in ("OPTS UTF8 ON", "SYST", "NOOP", "HELP", "STAT"):
            reply = ftp.sendcmd(command)
            assert reply[0] == "2", reply


def aborted(ftp, data):
    """ABOR while the data connection is open: the reply to the transfer, then 226 for the ABOR."""
    reply = ftp.abort()
    data.close()
    if not reply.startswith("226"):
        assert reply.startswith("426"), reply
        second = ftp.getmultiline()
        assert second.startswith("226"), second
