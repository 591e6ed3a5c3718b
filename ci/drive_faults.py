"""Faults: a killed client, a store that dies, and SIGTERM to the gateway."""

import contextlib
import ftplib
import signal
import subprocess
import time

from harness import MIB, content, until
from sessions import connect, put

OLD = content(3 * MIB, 11)
SLOW = content(20 * MIB, 12)
GRACE = 60  # seconds the gateway may take to end


def drive(t, steps, gateway, real_store):
    """`real_store` is None for the demo, which has no store that could be killed."""
    with steps.step("faults: kill -9 of curl in the middle of 200 MiB"):
        put(t, "old.bin", OLD)
        for key in ("old.bin", "new.bin"):
            killed_upload(t, key)
    with steps.step("faults: SIGTERM: the running transfer ends, then exit code 0"):
        terminate_during_upload(t, gateway)
    with steps.step("faults: afterwards the killed uploads can be resumed, are not published, and DELE removes them"):
        gateway.start()
        t.absent("new.bin")
        t.stored("old.bin", OLD)
        t.stored("sigterm.bin", SLOW)
        with connect(t) as ftp:
            assert ftp.size("new.bin") > 8 * MIB
            ftp.delete("new.bin")
            # After SIZE the process knows of the interrupted upload, so a small one removes it.
            assert ftp.size("old.bin") > 8 * MIB
        put(t, "old.bin", OLD)
        no_open_uploads(t)
    with steps.step("faults: an idle gateway ends at SIGTERM, an idle session gets 421"):
        idle_then_terminate(t, gateway)
    if real_store is not None:
        gateway.start()
        with steps.step("faults: the store dies in the middle of an upload"):
            store_dies(t, real_store)
        with steps.step("faults: it restarts: the old object is there, uploads work"):
            real_store.start_again()
            t.stored("old.bin", OLD)
            put(t, "after.bin", content(9 * MIB))
            t.stored("after.bin", content(9 * MIB))
        gateway.terminate()
        gateway.ended(GRACE)


def no_open_uploads(t):
    # All of the bucket, since MinIO can't list uploads below a prefix.
    if hasattr(t.store, "open_uploads"):
        # The gateway may reply to an aborted transfer before it has cleaned the store.
        try:
            until(lambda: not t.store.open_uploads(), 60, "no open multipart uploads")
        except AssertionError as error:
            raise AssertionError(f"{error}: {t.store.open_uploads()}") from error


def killed_upload(t, key):
    source = t.work / "200MiB.bin"
    with open(source, "wb") as file:
        file.truncate(200 * MIB)
    login = f"{t.user}:{t.password}"
    curl = ["curl", "-sS", "-u", login, "--limit-rate", "40M", "-T", str(source), t.url(key)]
    process = subprocess.Popen(curl, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: bytes_read(process.pid) > 60 * MIB, 60, "60 MiB on their way")
        assert process.poll() is None, "curl had ended before it was killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def bytes_read(pid):
    with open(f"/proc/{pid}/io") as file:
        return int(file.readline().split()[1])


def terminate_during_upload(t, gateway):
    with connect(t) as ftp:
        upload = ftp.transfercmd("STOR sigterm.bin")
        upload.sendall(SLOW[: 10 * MIB])
        start = time.monotonic()
        gateway.terminate()
        if gateway.admin:
            until(lambda: not is_ready(gateway), 60, "not ready")
        until(lambda: not greets(t), 60, "no new sessions")
        upload.sendall(SLOW[10 * MIB :])
        upload.close()
        reply = ftp.voidresp()
        assert reply.startswith("226"), reply
    code = gateway.ended(GRACE)
    assert code == 0, f"exit code {code}"
    print(f"     (SIGTERM to the end: {time.monotonic() - start:.1f} s)")


def is_ready(gateway):
    try:
        return gateway.probe("/readyz") == 200
    except OSError:
        return False


def greets(t):
    """Whether a new connection is greeted with 220."""
    try:
        with ftplib.FTP(timeout=30) as ftp:
            return ftp.connect(t.host, t.port).startswith("220")
    except (OSError, EOFError, ftplib.Error):
        return False


def idle_then_terminate(t, gateway):
    ftp = connect(t)
    gateway.terminate()
    line = ""
    with contextlib.suppress(EOFError):
        line = ftp.getline()
    assert line.startswith("421"), f"the idle session got {line!r}"
    ftp.close()
    code = gateway.ended(GRACE)
    assert code == 0, f"exit code {code}"


def store_dies(t, real_store):
    with connect(t) as ftp:
        upload = ftp.transfercmd("STOR old.bin")
        upload.settimeout(90)
        data = content(40 * MIB, 13)
        upload.sendall(data[: 20 * MIB])
        real_store.kill()
        with contextlib.suppress(OSError):  # the gateway may also cut the connection
            upload.sendall(data[20 * MIB :])
        upload.close()
        try:
            reply = ftp.voidresp()
        except ftplib.Error as error:
            reply = str(error)
        assert reply[:1] in ("4", "5"), f"the client got {reply!r}"
        assert not reply.startswith("421"), f"the session ended with the transfer: {reply!r}"
        print(f"     ({reply})")
        assert ftp.sendcmd("NOOP").startswith("200")
