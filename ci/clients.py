#!/usr/bin/env python3
"""Runs real FTP clients against s3ftpd over real stores, and compares each byte by FTP and by S3.

    clients.py --binary target/release/s3ftpd STORE...      STORE: demo, versitygw, minio, garage
    clients.py --server HOST:PORT:USER:PASSWORD --root DIR  only the clients, against any FTP server
                                                            whose root directory is DIR
    --only NAME    curl, lftp, classic, ftplib, consumers, resume, tls, replicas, stores or faults
    --keep         keeps the temporary directory

The last line is "N passed, N failed"; the exit code is 0 if nothing failed.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.dont_write_bytecode = True

import drive_classic
import drive_consumers
import drive_curl
import drive_faults
import drive_ftplib
import drive_lftp
import drive_replicas
import drive_resume
import drive_stores
import drive_tls
from harness import Directory, Gateway, RealStore, Steps, Target, free_port, tail
from s3 import S3

DRIVERS = {
    "curl": drive_curl.drive,
    "lftp": drive_lftp.drive,
    "classic": drive_classic.drive,
    "ftplib": drive_ftplib.drive,
    "consumers": drive_consumers.drive,
}
USER, PASSWORD = "clients", "horse%40battery:staple"
KEEPS_TIMES = "timed"


def main():
    arguments = parse()
    work = Path(tempfile.mkdtemp(prefix="s3ftpd-clients-"))
    results, broken = [], 0
    try:
        if arguments.server:
            results.append(other_server(arguments, work))
        for name in arguments.stores:
            start = time.monotonic()
            (work / name).mkdir()
            results.append(against_store(arguments, name, work / name))
            print(f"--   {name}: {time.monotonic() - start:.0f} s", flush=True)
    except Exception:  # the last line must report the failure, whatever it is
        broken = 1
        traceback.print_exc(file=sys.stdout)
    finally:
        if arguments.keep:
            print(f"kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)
    failed = broken + sum(steps.failed for steps in results)
    print(f"{sum(steps.passed for steps in results)} passed, {failed} failed")
    return 1 if failed else 0


def parse():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--binary", type=Path)
    parser.add_argument("--server")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--only", choices=[*DRIVERS, "resume", "tls", "replicas", "stores", "faults"])
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("stores", nargs="*", choices=["demo", "versitygw", "minio", "garage", []])
    arguments = parser.parse_args()
    if bool(arguments.server) == bool(arguments.stores) or (arguments.stores and not arguments.binary):
        parser.error("either --binary and stores, or --server and --root")
    if arguments.binary:
        arguments.binary = arguments.binary.resolve()
    return arguments


def drive(arguments, target, steps):
    for name, driver in DRIVERS.items():
        if arguments.only in (None, name):
            driver(target, steps)


def other_server(arguments, work):
    host, port, user, password = arguments.server.split(":", 3)
    steps = Steps("server")
    drive(arguments, Target(host, int(port), user, password, Directory(arguments.root), work), steps)
    return steps


def against_store(arguments, name, work):
    steps = Steps(name)
    real_store = gateway = None
    try:
        with steps.step("start"):
            if name == "demo":
                gateway, target = demo(arguments.binary, work)
            else:
                real_store = RealStore.start(name, work / "store")
                gateway, target = serve(arguments.binary, work, real_store, "clients")
            gateway.start()
        if steps.failed:
            return steps
        if gateway.admin:
            with steps.step("health endpoints"):
                for path in ("/healthz", "/readyz"):
                    assert gateway.probe(path) == 200, f"{path}: {gateway.probe(path)}"
        if real_store:
            with steps.step("a mount with a prefix"):
                login = ["curl", "-sS", "-u", f"{USER}:{PASSWORD}"]
                target.run([*login, "-T", target.file("own.txt", b"mine"), target.url("own/in/"), "--ftp-create-dirs"])
                target.stored(f"home/{USER}/in/own.txt", b"mine")
                assert target.run([*login, target.url("own/in/own.txt")]) == b"mine"
        if real_store and arguments.only in (None, "stores"):
            drive_stores.drive(steps, arguments.binary, gateway, real_store)
        if real_store and arguments.only in (None, "lftp"):
            drive_lftp.keeps_times(target, steps, KEEPS_TIMES)
        drive(arguments, target, steps)
        with steps.step("no open multipart uploads are left"):
            drive_faults.no_open_uploads(target)
        if arguments.only in (None, "resume"):
            drive_resume.drive(target, steps, gateway, real_store is not None)
        # TLS does not reach the store, and its clients take long to install: it has its own stage,
        # which uses one store.
        if arguments.only == "tls":
            store = real_store or target.store
            if not real_store:
                drive_tls.demo(steps, target)
            drive_tls.drive(steps, lambda *of: serve(arguments.binary, work, store, *of), work)
        if arguments.only in (None, "replicas") and real_store:
            drive_replicas.drive(steps, lambda *of: serve(arguments.binary, work, real_store, *of), real_store)
        if arguments.only in (None, "faults"):
            drive_faults.drive(target, steps, gateway, real_store)
    except Exception as error:  # no step can follow, such as if the gateway does not restart
        steps.failed += 1
        print(f"FAIL {name}: {error}", flush=True)
    finally:
        if gateway:
            gateway.kill()
            if steps.failed:
                print(f"---- the end of the gateway's log, with the store {name}:\n{tail(gateway.log.read_bytes(), 8000)}", flush=True)
        if real_store:
            real_store.stop()
            if steps.failed:
                print(f"---- the end of the log of {name}:\n{tail((work / 'store/log').read_bytes(), 2000)}", flush=True)
    return steps


def demo(binary, work):
    """The demo with its embedded store, whose S3 endpoint is in the gateway's log."""
    port, log = free_port(), work / "gateway.log"
    argv = [binary, "demo", "--listen", f"127.0.0.1:{port}", "--data", work / "data"]
    store = DemoStore()
    return DemoGateway(argv, port, log, store), Target("127.0.0.1", port, "demo", "demo", store, work / "client")


class DemoStore(S3):
    """The bucket of the demo."""

    def __init__(self):
        super().__init__("", "us-east-1", "demo", "demo-secret", "demo")

    @property
    def endpoint(self):
        return f"http://{self.host}"


class DemoGateway(Gateway):
    """The demo's store gets another port at each start."""

    def __init__(self, argv, port, log, store):
        super().__init__(argv, port, log)
        self.store = store

    def ready(self):
        endpoints = re.findall(r"through S3, at http://([\d.]+:\d+)", self.log.read_text())
        if len(endpoints) == self.starts:
            self.store.host = endpoints[-1]
        return super().ready() and len(endpoints) == self.starts


def serve(binary, work, store, replica, settings="", listener=""):
    """A gateway that is not started yet, and the target that clients use.

    `settings`: further sections of the configuration; `listener`: one more listener.
    """
    work = work / replica
    work.mkdir()
    hashed = subprocess.run(
        [binary, "hash-password"], input=PASSWORD + "\n", capture_output=True, text=True, check=True
    ).stdout.strip()
    port, admin = free_port(), free_port()
    (work / "secret").write_text(store.secret_key + "\n")
    config = work / "s3ftpd.toml"
    bucket = f'store = "main", bucket = "{store.bucket}"'
    config.write_text(
        f"""
listen = ["127.0.0.1:{port}", {listener}]
replica = "{replica}"

[passive]
ports = "auto"

[admin]
listen = "127.0.0.1:{admin}"

[stores.main]
endpoint = "{store.endpoint}"
region = "{store.region}"
path_style = true
access_key_id = "{store.access_key}"
secret_access_key = {{ file = "{work}/secret" }}

[mounts.all]
store = "main"
bucket = "{store.bucket}"

[mounts.once]
store = "main"
bucket = "{store.bucket}"
prefix = "once/"
permissions = ["list", "read", "write"]

[users.{USER}]
password = '{hashed}'
mounts = {{ "/" = "all", "/own" = {{ {bucket}, prefix = "home/{{user}}/" }}, "/once" = "once" }}

[users.{KEEPS_TIMES}]
password = '{hashed}'
mounts = {{ "/" = {{ {bucket}, prefix = "timed/", times = "metadata" }} }}

{settings}
"""
    )
    config.chmod(0o600)
    subprocess.run([binary, "check", "--config", config], check=True, stdin=subprocess.DEVNULL, cwd=work)
    gateway = Gateway([binary, "serve", "--config", config], port, work / "gateway.log", admin)
    return gateway, Target("127.0.0.1", port, USER, PASSWORD, store, work / "client")


if __name__ == "__main__":
    # Exiting runs the finally clauses, which end stores and gateways.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # The gateway under test would take these settings from the environment of the user.
    for variable in [name for name in os.environ if name.startswith("S3FTPD__")]:
        del os.environ[variable]
    sys.exit(main())
