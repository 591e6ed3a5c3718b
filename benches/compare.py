#!/usr/bin/env python3
"""What two builds of the server cost: CPU time for each small file.

    benches/compare.py OLD NEW [--rounds 10] [--files 500] [--admin] [--config FILE]

Both binaries run side by side on one versitygw (ci/stores.sh), each with one session. They take turns:
in each round each of them stores and then fetches `--files` files of 4 KiB. `--admin` gives the new one
an admin port (the old one may not know that section), `--config` more settings for the new one.
Prints for each direction the median CPU time for a file, and the median and the quartiles of the rounds'
ratios. The time is that of all threads, by /proc/PID/task/*/schedstat, in nanoseconds.
"""

import argparse
import ftplib
import io
import os
import pathlib
import socket
import statistics
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
STORES = HERE.parent / "ci" / "stores.sh"
DATA = os.urandom(4096)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Gateway:
    def __init__(self, binary, directory, store, more):
        self.port = free_port()
        directory.mkdir()
        hashed = subprocess.run([binary, "hash-password"], input=b"p\n", capture_output=True, check=True)
        config = directory / "s3ftpd.toml"
        config.write_text(
            f'listen = ["127.0.0.1:{self.port}"]\n[passive]\nports = "auto:16"\n[stores.main]\nendpoint = "{store["ENDPOINT"]}"\n'
            f'region = "{store["REGION"]}"\naccess_key_id = "{store["ACCESS_KEY"]}"\n'
            f'secret_access_key = "{store["SECRET_KEY"]}"\n'
            f'[mounts.home]\nstore = "main"\nbucket = "{store["BUCKET"]}"\nprefix = "{directory.name}/"\n'
            f'[users.u]\npassword = "{hashed.stdout.decode().strip()}"\nmounts = {{ "/" = "home" }}\n{more}'
        )
        self.log = (directory / "log").open("wb")
        self.process = subprocess.Popen([binary, "serve", "--config", config], stdout=self.log, stderr=self.log)
        self.threads = {}
        deadline = time.monotonic() + 30
        while True:
            try:
                self.ftp = ftplib.FTP()
                self.ftp.connect("127.0.0.1", self.port, timeout=30)
                break
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise SystemExit((directory / "log").read_text()) from None
                time.sleep(0.05)
        self.ftp.login("u", "p")
        self.ftp.voidcmd("TYPE I")

    def cpu(self):
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                self.threads[task.name] = int((task / "schedstat").read_text().split()[0])
            except OSError:
                pass
        return sum(self.threads.values())

    def up(self, files):
        for number in range(files):
            self.ftp.storbinary(f"STOR f{number}", io.BytesIO(DATA))

    def down(self, files):
        for number in range(files):
            self.ftp.retrbinary(f"RETR f{number}", lambda _: None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--admin", action="store_true", help="the new one has an admin port")
    parser.add_argument("--config", type=argparse.FileType(), help="more settings of the new one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        subprocess.run([STORES, "start", "versitygw", directory / "store"], check=True)
        gateways = []
        try:
            lines = (directory / "store" / "env").read_text().splitlines()
            store = dict(line.split("=", 1) for line in lines)
            more = arguments.config.read() if arguments.config else ""
            if arguments.admin:
                more = f'[admin]\nlisten = "127.0.0.1:{free_port()}"\n{more}'
            gateways.append(Gateway(arguments.old, directory / "old", store, ""))
            gateways.append(Gateway(arguments.new, directory / "new", store, more))
            measure(gateways, arguments)
        finally:
            for gateway in gateways:
                gateway.process.kill()
                gateway.process.wait()
            subprocess.run([STORES, "stop", directory / "store"], check=True)


def measure(gateways, arguments):
    for gateway in gateways:
        gateway.up(arguments.files)
        gateway.down(arguments.files)
    taken = {(direction, which): [] for direction in ("up", "down") for which in (0, 1)}
    for number in range(arguments.rounds):
        for direction in ("up", "down"):
            for which in ((0, 1) if number % 2 == 0 else (1, 0)):
                gateway = gateways[which]
                before = gateway.cpu()
                getattr(gateway, direction)(arguments.files)
                taken[direction, which].append((gateway.cpu() - before) / arguments.files / 1000)
    for direction in ("up", "down"):
        old, new = taken[direction, 0], taken[direction, 1]
        ratios = [b / a for a, b in zip(old, new, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(
            f"{direction}: old {statistics.median(old):.1f} µs, new {statistics.median(new):.1f} µs a file, "
            f"ratio {middle:.3f} ({low:.3f} to {high:.3f})"
        )


if __name__ == "__main__":
    main()
