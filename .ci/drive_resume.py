"""Uploads that break off and go on: with each client that can, before each store; small ones and large ones."""

import ftplib
import io
import re
import socket
import struct

from harness import MIB, PART, content, until

SMALL, LARGE = 100_000, 2 * PART + 3 * MIB
SIZES = {"small": SMALL, "large": LARGE}


def drive(t, steps, gateway, killable):
    """`killable`: whether the store outlives the gateway."""
    login = f"{t.user}:{t.password}"

    def curl_resumes(key, path):
        t.run(["curl", "-gsS", "-u", login, "-C", "-", "-T", path, t.url(key)])

    def lftp(script):
        settings = "set cmd:fail-exit yes\nset net:max-retries 1\nset net:timeout 30\nset ftp:ssl-allow no"
        t.run(["lftp", "--norc"], text=f"{settings}\nopen -u {t.user},{t.password} ftp://{t.host}:{t.port}\n{script}\n")

    def lftp_put(key, path):
        lftp(f"put -c {path} -o /{key}")

    def lftp_mput(key, path):
        lftp(f"cd /{key.rsplit('/', 1)[0]}\nmput -c {path}")

    def python_rest(key, path):
        with connect(t) as ftp, open(path, "rb") as file:
            size = ftp.size(key)
            file.seek(size)
            ftp.storbinary(f"STOR {key}", file, rest=size)

    def python_appe(key, path):
        with connect(t) as ftp, open(path, "rb") as file:
            file.seek(ftp.size(key))
            ftp.storbinary(f"APPE {key}", file)

    clients = {
        "curl -C -": curl_resumes,
        "lftp put -c": lftp_put,
        "lftp mput -c": lftp_mput,
        # Not ncftpput -z: that of Debian (3.2.6) asks MLST, sends the right REST, and then the whole file by sendfile; the
        # beginning is doubled on any server.
        "ftplib rest=": python_rest,
        "ftplib SIZE and APPE": python_appe,
    }
    with connect(t) as ftp:
        ftp.mkd("resume")
    for number, (client, resumes) in enumerate(clients.items()):
        for label, size in SIZES.items():
            with steps.step(f"resume: {client}, {label}"):
                whole = content(size + size // 2, number)
                directory = t.fresh(f"resume-{number}-{label}")
                key = f"resume/{number}-{label}.bin"
                path = directory / key.rsplit("/", 1)[1]
                path.write_bytes(whole)
                if number % 2:
                    put(t, key, b"an older object")
                broken(t, key, whole[:size], how=("reset", "abor")[number % 2])
                told = size_of(t, key)
                assert told == size, f"SIZE tells {told} of {size}"
                resumes(key, path)
                t.stored(key, whole)

    with steps.step("resume: six breaks in a row, nothing sent twice"):
        whole, sent = content(26 * MIB, 5), 0
        for stop in (MIB, PART, PART + 5, 17 * MIB, 17 * MIB + 1, 25 * MIB):
            broken(t, "resume/six.bin", whole[sent:stop], offset=sent)
            sent = stop
        path = t.file("six.bin", whole)
        curl_resumes("resume/six.bin", path)
        t.stored("resume/six.bin", whole)

    with steps.step("resume: it ends when somebody else has written the object"):
        whole = content(LARGE, 6)
        broken(t, "resume/other.bin", whole)
        assert size_of(t, "resume/other.bin") == len(whole)
        t.store.put("resume/other.bin", b"somebody else's")
        assert size_of(t, "resume/other.bin") == len(b"somebody else's")
        t.stored("resume/other.bin", b"somebody else's")

    with steps.step("resume: an object written while it goes on is not replaced"):
        whole = content(LARGE + MIB, 7)
        broken(t, "resume/race.bin", whole[:LARGE])
        with connect(t) as ftp:
            data = ftp.transfercmd("STOR resume/race.bin", rest=ftp.size("resume/race.bin"))
            data.sendall(whole[LARGE:])
            t.store.put("resume/race.bin", b"quicker")
            data.close()
            assert refused(ftp.voidresp).startswith(("450", "451"))
        t.stored("resume/race.bin", b"quicker")

    with steps.step("resume: append and restart inside an object, broken off, go on"):
        old, new = content(12 * MIB, 8), content(14 * MIB, 9)
        for verb, offset, key in (("APPE", 0, "resume/append.bin"), ("STOR", 7 * MIB + 1, "resume/inside.bin")):
            put(t, key, old)
            begins = offset or len(old)
            whole = old[:begins] + new
            broken(t, key, new[: 10 * MIB], offset=offset, verb=verb)
            t.stored(key, old)
            assert size_of(t, key) == begins + 10 * MIB
            path = t.file(key.rsplit("/", 1)[1], whole)
            curl_resumes(key, path)
            t.stored(key, whole)

    with steps.step("resume: a concurrent overwrite fails an append loudly"):
        put(t, "resume/loud.bin", content(9 * MIB, 1))
        with connect(t) as ftp:
            data = ftp.transfercmd("APPE resume/loud.bin")
            data.sendall(b"more")
            t.store.put("resume/loud.bin", b"overwritten")
            data.close()
            assert refused(ftp.voidresp).startswith(("550", "451"))
        t.stored("resume/loud.bin", b"overwritten")

    with steps.step("digests: HASH and XCRC of what is stored"):
        import hashlib
        import zlib

        data = content(LARGE, 4)
        put(t, "resume/digest.bin", data)
        with connect(t) as ftp:
            assert hashlib.sha256(data).hexdigest() in ftp.sendcmd("HASH resume/digest.bin")
            assert f"{zlib.crc32(data):08X}" in ftp.sendcmd("XCRC resume/digest.bin")
            assert hashlib.md5(data[5:100]).hexdigest().upper() in ftp.sendcmd('XMD5 "resume/digest.bin" 5 100')

    if gateway:
        stops = {"SIGTERM": gateway.terminate}
        if killable:
            stops["kill -9"] = gateway.kill
        for label, stop in stops.items():
            with steps.step(f"resume: after {label} of the gateway"):
                whole = content(30 * MIB, 3)
                key = f"resume/{label.replace(' ', '')}.bin"
                ftp, data = begun(t, key, whole[: 25 * MIB])
                if label == "kill -9":
                    # What the store has acknowledged is kept; a part may be on its way still.
                    until(lambda: t.store.keys(".s3ftpd/uploads/"), 30, "the record")
                stop()
                data.close()
                ftp.close()
                gateway.ended(100)
                gateway.start()
                try:
                    told = size_of(t, key)
                except ftplib.error_perm:
                    # Killed before the store had acknowledged its first part: then curl begins anew.
                    assert label == "kill -9"
                    told = 0
                print(f"     ({told} of {25 * MIB} bytes were kept)")
                path = t.file("after.bin", whole)
                curl_resumes(key, path)
                t.stored(key, whole)

    with steps.step("resume: nothing but objects is left"):
        until(lambda: not t.store.keys(".s3ftpd/uploads/"), 20, "records are gone")
        until(lambda: not t.store.keys(".s3ftpd/tails/"), 20, "tails are gone")


def connect(t):
    ftp = ftplib.FTP(timeout=90, encoding="utf-8")
    ftp.connect(t.host, t.port)
    ftp.login(t.user, t.password)
    ftp.voidcmd("TYPE I")
    return ftp


def put(t, key, data):
    with connect(t) as ftp:
        ftp.storbinary(f"STOR {key}", io.BytesIO(data))


def size_of(t, key):
    with connect(t) as ftp:
        return ftp.size(key)


def refused(command):
    try:
        command()
    except ftplib.Error as error:
        return str(error)
    raise AssertionError("was not refused")


def begun(t, key, data, offset=0, verb="STOR"):
    """An upload of which the gateway has taken these bytes."""
    ftp = connect(t)
    connection = ftp.transfercmd(f"{verb} {key}", rest=offset or None)
    connection.sendall(data)

    def taken():
        ftp.putcmd("STAT")
        return re.search(rf"^ *{len(data)} bytes", ftp.getmultiline(), re.MULTILINE)

    until(taken, 60, f"{len(data)} bytes taken")
    return ftp, connection


def broken(t, key, data, offset=0, verb="STOR", how="reset"):
    """An upload that breaks off when these bytes have been taken."""
    ftp, connection = begun(t, key, data, offset, verb)
    if how == "abor":
        ftp.putcmd("ABOR")
    else:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    assert refused(ftp.voidresp).startswith("426")
    if how == "abor":
        ftp.voidresp()
    ftp.close()
