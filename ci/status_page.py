#!/usr/bin/env python3
"""The status page in Chromium: live update, search, login, and each button; on a wide and a narrow screen.

    ci/status_page.py --binary target/release/s3ftpd [--screenshots docs/images]

Starts a server on the store of a demo, gives it transfers that run, transfers that failed and a ban,
and lets status_page.js press the buttons. `--screenshots` writes the images of the documentation.
It needs chromium, node, openssl, and playwright-core as `tools.sh browser` installs it.
"""

import argparse
import ftplib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from harness import HERE, Gateway, Steps, free_port

TOKEN = "token-of-the-ci-run"
PASSWORD = "password"
USERS = ("acme", "bolt-logistics", "scanner1")
DEADLINE = 60


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--screenshots", type=Path)
    arguments = parser.parse_args()
    binary = arguments.binary.resolve()
    steps = Steps("status page")
    work = Path(tempfile.mkdtemp(prefix="s3ftpd-page-"))
    images = arguments.screenshots.resolve() if arguments.screenshots else work
    running = []
    try:
        store = DemoStore(binary, work)
        running.append(store)
        store.start()
        server = serve(binary, work, store.endpoint())
        running.append(server)
        server.start()
        drive(steps, server, images)
    except Exception as error:  # no step can follow
        steps.failed += 1
        print(f"FAIL status page: {error}", flush=True)
    finally:
        for process in reversed(running):
            process.kill()
        if steps.failed:
            for log in sorted(work.glob("*.log")):
                print(f"---- the end of {log.name}:\n{log.read_text()[-3000:]}", flush=True)
        shutil.rmtree(work, ignore_errors=True)
    print(f"{steps.passed} passed, {steps.failed} failed")
    return 1 if steps.failed else 0


class DemoStore(Gateway):
    """A demo, of which only the store is used."""

    def __init__(self, binary, work):
        port = free_port()
        argv = [binary, "demo", "--listen", f"127.0.0.1:{port}"]
        super().__init__(argv, port, work / "store.log")

    def endpoint(self):
        return re.search(r"through S3, at (http://[\d.]+:\d+)", self.log.read_text())[1]


def serve(binary, work, endpoint):
    """A server with three users, TLS and the admin port."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", work / "key.pem", "-out", work / "crt.pem", "-days", "60", "-subj", "/CN=ftp.example.com",
         "-addext", "subjectAltName=DNS:ftp.example.com"],
        check=True, capture_output=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    hashed = subprocess.run(
        [binary, "hash-password"], input=PASSWORD + "\n", capture_output=True, text=True, check=True
    ).stdout.strip()
    users = "".join(f"[users.{user}]\npassword = '{hashed}'\nmounts = {{ '/' = 'exchange' }}\n" for user in USERS)
    port, admin = free_port(), free_port()
    config = work / "s3ftpd.toml"
    config.write_text(
        f"""
listen = ["127.0.0.1:{port}"]
replica = "ftp-0"

[passive]
ports = "auto"

[tls]
certificate = "{work}/crt.pem"
key = "{work}/key.pem"

[admin]
listen = "127.0.0.1:{admin}"
token = "{TOKEN}"

[memory]
budget = "512MiB"

[login_failures]
delay = "1ms"
max_delay = "2ms"
ban_user_after = 3

[stores.main]
endpoint = "{endpoint}"
region = "us-east-1"
path_style = true
access_key_id = "demo"
secret_access_key = "demo-secret"

[mounts.exchange]
store = "main"
bucket = "demo"

{users}
"""
    )
    return Gateway([binary, "serve", "--config", config], port, work / "server.log", admin)


class Client(ftplib.FTP):
    """A client that is logged in."""

    def __init__(self, port, user, software):
        super().__init__(timeout=DEADLINE)
        self.connect("127.0.0.1", port)
        self.login(user, PASSWORD)
        self.sendcmd(f"CLNT {software}")
        self.voidcmd("TYPE I")


class SlowDownload(threading.Thread):
    """A download that is read a little at a time."""

    def __init__(self, port, user, path, rate):
        super().__init__(daemon=True)
        self.client = Client(port, user, "curl/8.14.1")
        self.connection = self.client.transfercmd(f"RETR {path}")
        self.rate = rate
        self.over = threading.Event()

    def run(self):
        try:
            while not self.over.is_set() and self.connection.recv(self.rate // 10):
                time.sleep(0.1)
        except OSError:
            pass
        self.connection.close()


class SlowUpload(threading.Thread):
    """An upload that sends a little all the time, until its session is ended."""

    def __init__(self, port, user, path, rate):
        super().__init__(daemon=True)
        self.client = Client(port, user, "rclone/v1.71")
        self.connection = self.client.transfercmd(f"STOR {path}")
        self.rate = rate
        self.replies = []
        self.over = threading.Event()

    def run(self):
        try:
            while not self.over.is_set():
                self.connection.sendall(bytes(self.rate // 10))
                time.sleep(0.1)
        except OSError:
            pass  # the server has ended it
        self.connection.close()
        for _ in range(2):
            try:
                self.replies.append(self.client.getmultiline())
            except (EOFError, OSError):
                return


def drive(steps, server, images):
    page = f"http://127.0.0.1:{server.admin}"
    uploads = fill(server.port)
    environment = {
        **os.environ,
        "PAGE": page,
        "TOKEN": TOKEN,
        "IMAGES": str(images),
        "NODE_PATH": str(browser() / "node_modules"),
    }
    images.mkdir(parents=True, exist_ok=True)
    script = [shutil.which("node"), HERE / "status_page.js"]
    with steps.step("the page in Chromium"):
        done = subprocess.run(
            script, env=environment, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL
        )
        print("\n".join(f"     {line}" for line in done.stdout.splitlines()), flush=True)
        assert done.returncode == 0, done.stderr[-3000:]
    with steps.step("the button End has ended the session of its row"):
        ended, others = uploads[0], uploads[1:2]
        ended.join(DEADLINE)
        assert [reply[:3] for reply in ended.replies] == ["426", "421"], ended.replies
        assert all(upload.is_alive() for upload in others), "another session has ended"
    with steps.step("the button Lift has lifted the ban"):
        assert get(page, "/bans")["bans"] == []
        Client(server.port, "scanner1", "curl").quit()
    with steps.step("the images are small"):
        for image in ("status-page-wide.png", "status-page-narrow.png"):
            size = (images / image).stat().st_size
            assert 10_000 < size <= 150_000, f"{image}: {size} bytes"
    for upload in uploads:
        upload.over.set()


def fill(port):
    """Transfers and failures of all kinds; returns the transfers that run, all but the last are uploads."""
    acme = Client(port, "acme", "WinSCP 6.5")
    for directory in ("in", "out"):
        acme.mkd(f"/{directory}")
    for number in range(1, 4):
        acme.storbinary(f"STOR /in/orders-2026-11-{number:02}.csv", io.BytesIO(bytes(1000 * number)))
    acme.retrbinary("RETR /in/orders-2026-11-01.csv", lambda _: None)
    bolt = Client(port, "bolt-logistics", "FileZilla 3.69")
    bolt.storbinary("STOR /out/manifest.xml", io.BytesIO(bytes(80_000)))
    for command in ("RETR /in/missing.csv", "RETR /out/<img src=x onerror=alert(1)>.csv"):
        try:
            bolt.transfercmd(command)
            raise AssertionError(f"{command} was not refused")
        except ftplib.error_perm:
            pass
    uploads = [
        SlowUpload(port, "acme", "/in/catalogue-2026.zip", 400_000),
        SlowUpload(port, "bolt-logistics", "/out/photos.tar", 1_500_000),
    ]
    big = Client(port, "scanner1", "curl/8.14.1")
    big.storbinary("STOR /out/archive.tar", io.BytesIO(bytes(64 << 20)), blocksize=1 << 20)
    big.quit()
    uploads.append(SlowDownload(port, "scanner1", "/out/archive.tar", 1_500_000))
    for _ in range(3):
        with ftplib.FTP(timeout=DEADLINE) as guess:
            guess.connect("127.0.0.1", port)
            try:
                guess.login("scanner1", "wrong")
            except ftplib.error_perm:
                pass
    for upload in uploads:
        upload.start()
    # Idle sessions stay open.
    uploads[0].idle = (acme, bolt)
    return uploads


def get(page, path):
    with urllib.request.urlopen(page + path, timeout=DEADLINE) as answer:
        return json.load(answer)


def browser():
    """Where tools.sh installs playwright-core."""
    cache = os.environ.get("S3FTPD_CI_CACHE") or Path.home() / ".cache/s3ftpd-ci"
    return Path(cache) / "browser"


if __name__ == "__main__":
    sys.exit(main())
