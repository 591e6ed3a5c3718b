"""FTP sessions with ftplib, and uploads that are running or interrupted."""

import ftplib
import io
import re
import socket
import struct

from harness import until


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
    """The error reply of a command; raises AssertionError if it succeeds."""
    try:
        command()
    except ftplib.Error as error:
        return str(error)
    raise AssertionError("was not refused")


def begun(t, key, data, offset=0, verb="STOR"):
    """Starts an upload, and waits until the gateway has read these bytes. Returns its session and
    its data connection."""
    ftp = connect(t)
    connection = ftp.transfercmd(f"{verb} {key}", rest=offset or None)
    connection.sendall(data)

    def taken():
        ftp.putcmd("STAT")
        return re.search(rf"^ *{len(data)} bytes", ftp.getmultiline(), re.MULTILINE)

    until(taken, 60, f"{len(data)} bytes taken")
    return ftp, connection


def broken(t, key, data, offset=0, verb="STOR", how="reset"):
    """Starts an upload, and interrupts it when the gateway has read these bytes."""
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


def first_part(t, key):
    """Waits until the store has the first part of a running upload, and the record that names it."""
    until(lambda: t.store.keys(".s3ftpd/uploads/"), 60, "the record")

    def stored():
        return any(1 in t.store.parts(key, upload) for upload in t.store.uploads_of(key))

    until(stored, 60, f"the first part of {key}")
