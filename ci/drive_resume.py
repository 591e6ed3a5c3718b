"""Interrupted uploads, small and large, that each client that can do so resumes on each store."""

import hashlib
import io
import os
import signal
import subprocess
import time
import zlib

from harness import MIB, PART, content, until
from sessions import begun, broken, connect, first_part, put, refused, size_of

SMALL, LARGE = 100_000, 2 * PART + 3 * MIB
SIZES = {"small": SMALL, "large": LARGE}


def drive(t, steps, gateway, killable):
    """`killable`: whether the store outlives the gateway."""
    login = f"{t.user}:{t.password}"

    def curl_resumes(key, path):
        t.run(["curl", "-gsS", "-u", login, "-C", "-", "-T", path, t.url(key)])

    def lftp(script):
        settings = "set cmd:fail-exit yes\nset net:max-retries 1\nset net:timeout 60\nset ftp:ssl-allow no"
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

    def ncftp(key, path):
        # -s: no sendfile. With it Debian's ncftpput (3.2.6) sends the whole file after the right REST,
        # and any server would store the beginning twice. ncftpput starts over if the local file is
        # newer than the server's, so this one is old.
        os.utime(path, (1_000_000_000, 1_000_000_000))
        account = ["-u", t.user, "-p", t.password, "-P", str(t.port)]
        t.run(["ncftpput", "-V", "-t", "60", "-r", "1", *account, "-z", "-s", t.host, f"/{key.rsplit('/', 1)[0]}", path])

    clients = {
        "curl -C -": curl_resumes,
        "lftp put -c": lftp_put,
        "lftp mput -c": lftp_mput,
        "ncftpput -z -s": ncftp,
        "ftplib rest=": python_rest,
        "ftplib SIZE and APPE": python_appe,
        "ncftpput -z -s of a new name": ncftp,
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
                    put_before(t, key, b"an older object")
                broken(t, key, whole[:size], how=("reset", "abor")[number % 2])
                reported = size_of(t, key)
                assert reported == size - 1, f"SIZE reports {reported} of {size}"
                resumes(key, path)
                t.stored(key, whole)

    with steps.step("resume: lftp mput -c of a stored file, an interrupted one and a new one"):
        directory = t.fresh("resume-mput")
        files = {name: content(LARGE + number, 20 + number) for number, name in enumerate(("new", "broken", "there"))}
        for name, data in files.items():
            (directory / name).write_bytes(data)
        with connect(t) as ftp:
            ftp.mkd("resume/mput")
        put(t, "resume/mput/there", files["there"])
        broken(t, "resume/mput/broken", files["broken"][: PART + 1000])
        lftp(f"cd /resume/mput\nlcd {directory}\nmput -c new broken there")
        for name, data in files.items():
            t.stored(f"resume/mput/{name}", data)

    with steps.step("resume: curl -C - after a curl that was killed (-9) in the middle"):
        whole = content(48 * MIB, 10)
        path = t.file("killed.bin", whole)
        for old in (None, b"an older object"):
            if old:
                put_before(t, "resume/killed.bin", old)
            reported = killed_curl(t, ["curl", "-gsS", "-u", login, "--limit-rate", "6M"], "resume/killed.bin", path)
            print(f"     (SIZE reports {reported} of {len(whole)} bytes)")
            if old:
                t.stored("resume/killed.bin", old)
            else:
                t.absent("resume/killed.bin")
            curl_resumes("resume/killed.bin", path)
            t.stored("resume/killed.bin", whole)
            with connect(t) as ftp:
                ftp.delete("resume/killed.bin")

    with steps.step("resume: REST and STOR inside an object, unbroken"):
        old, new = content(12 * MIB, 8), content(PART + 77, 9)
        for offset in (5, 6 * MIB + 1, len(old)):
            put(t, "resume/rest.bin", old)
            with connect(t) as ftp:
                ftp.storbinary("STOR resume/rest.bin", io.BytesIO(new), rest=offset)
            t.stored("resume/rest.bin", old[:offset] + new)

    with steps.step("resume: six breaks in a row, nothing sent twice"):
        whole, sent = content(26 * MIB, 5), 0
        for stop in (MIB, PART, PART + 5, 17 * MIB, 17 * MIB + 1, 25 * MIB):
            broken(t, "resume/six.bin", whole[sent:stop], offset=sent)
            sent = stop
        path = t.file("six.bin", whole)
        curl_resumes("resume/six.bin", path)
        t.stored("resume/six.bin", whole)

    with steps.step("resume: it ends if another client has written the object"):
        whole = content(LARGE, 6)
        broken(t, "resume/other.bin", whole)
        assert size_of(t, "resume/other.bin") == len(whole) - 1
        t.store.put("resume/other.bin", b"another client's")
        assert size_of(t, "resume/other.bin") == len(b"another client's")
        t.stored("resume/other.bin", b"another client's")

    with steps.step("resume: an object that is written meanwhile is not replaced"):
        whole = content(LARGE + MIB, 7)
        broken(t, "resume/race.bin", whole[:LARGE])
        with connect(t) as ftp:
            data = ftp.transfercmd("STOR resume/race.bin", rest=ftp.size("resume/race.bin"))
            data.sendall(whole[LARGE:])
            t.store.put("resume/race.bin", b"quicker")
            data.close()
            reply = refused(ftp.voidresp)
            assert reply.startswith(("450", "451")), reply
        t.stored("resume/race.bin", b"quicker")
        # The interrupted upload is discarded, at the next lookup at the latest.
        assert size_of(t, "resume/race.bin") == len(b"quicker")
        until(lambda: not t.store.state(".s3ftpd/uploads/"), 60, f"its record is gone ({reply})")

    with steps.step("resume: an interrupted append, and an interrupted restart inside an object"):
        old, new = content(12 * MIB, 8), content(14 * MIB, 9)
        for verb, offset, key in (("APPE", 0, "resume/append.bin"), ("STOR", 7 * MIB + 1, "resume/inside.bin")):
            put_before(t, key, old)
            begins = offset or len(old)
            whole = old[:begins] + new
            broken(t, key, new[: 10 * MIB], offset=offset, verb=verb)
            t.stored(key, old)
            assert size_of(t, key) == begins + 10 * MIB - 1
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

    with steps.step("digests: HASH, RANG and the X commands"):
        data = content(LARGE, 4)
        put(t, "resume/digest.bin", data)
        with connect(t) as ftp:
            digests(ftp, "resume/digest.bin", data)

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
                    # Only what the store has acknowledged survives, so wait for one part.
                    first_part(t, key)
                stop()
                data.close()
                ftp.close()
                gateway.ended(100)
                gateway.start()
                reported = size_of(t, key)
                # SIZE reports one byte less than is stored, since a killed process can't know
                # whether more was to come.
                least = PART - 1 if label == "kill -9" else 25 * MIB - 1
                assert least <= reported <= 25 * MIB, f"SIZE reports {reported}, at least {least} bytes are in the store"
                print(f"     (SIZE reports {reported} of {25 * MIB} bytes)")
                path = t.file("after.bin", whole)
                curl_resumes(key, path)
                t.stored(key, whole)

    with steps.step("resume: nothing but objects is left"):
        try:
            until(lambda: not t.store.state(".s3ftpd/uploads/"), 60, "records are gone")
            until(lambda: not t.store.state(".s3ftpd/tails/"), 60, "tails are gone")
        except AssertionError:
            for key in t.store.state(".s3ftpd/uploads/"):
                print(f"     {key}: {t.store.get(key)}")
            raise


def put_before(t, key, data):
    """Puts an object, and waits until a clock of whole seconds shows it older than a new upload."""
    put(t, key, data)
    written = time.monotonic()
    until(lambda: time.monotonic() > written + 2.1, 10, "the object is older")


def killed_curl(t, curl, key, path):
    """Kills curl in the middle of an upload. Returns the length that SIZE then reports."""
    process = subprocess.Popen(
        [*curl, "-T", path, t.url(key)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        first_part(t, key)
        assert process.poll() is None, "curl had ended before it was killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    # Until the gateway has noticed the end of curl, SIZE reports an older object.
    until(lambda: size_of(t, key) >= PART - 1, 60, "the upload's length is reported")
    reported = size_of(t, key)
    assert PART - 1 <= reported < path.stat().st_size, f"SIZE reports {reported}"
    return reported


def digests(ftp, path, data):
    algorithms = {"SHA-256": "sha256", "SHA-1": "sha1", "SHA-512": "sha512", "MD5": "md5", "CRC32": None}
    begin, end = 5, PART + 100

    def digest(algorithm, piece):
        return hashlib.new(algorithm, piece).hexdigest() if algorithm else f"{zlib.crc32(piece):08x}"

    for name, algorithm in algorithms.items():
        ftp.voidcmd(f"OPTS HASH {name}")
        reply = ftp.sendcmd(f"HASH {path}")
        expected = f"213 {name} 0-{len(data) - 1} {digest(algorithm, data)} {path}"
        assert reply == expected, f"{reply} instead of {expected}"
        assert ftp.sendcmd(f"RANG {begin} {end - 1}").startswith("350")
        reply = ftp.sendcmd(f"HASH {path}")
        expected = f"213 {name} {begin}-{end - 1} {digest(algorithm, data[begin:end])} {path}"
        assert reply == expected, f"{reply} instead of {expected}"
        command = "XCRC" if name == "CRC32" else f"X{name.replace('-', '')}"
        reply = ftp.sendcmd(f"{command} {path}")
        assert reply == f"250 {digest(algorithm, data).upper()}", f"{command}: {reply}"
        reply = ftp.sendcmd(f'{command} "{path}" {begin} {end}')
        assert reply == f"250 {digest(algorithm, data[begin:end]).upper()}", f"{command} of a piece: {reply}"
