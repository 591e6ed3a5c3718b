"""Shared by the client tests: steps, the gateway as a process, stores, trees of odd names."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import s3

HERE = Path(__file__).resolve().parent
MIB = 1 << 20
PART = 8 * MIB  # the gateway's default part_size


class Steps:
    """Counts the steps that passed and failed, and prints a line for each."""

    def __init__(self, label):
        self.label = label
        self.passed = 0
        self.failed = 0

    @contextmanager
    def step(self, name):
        start = time.monotonic()
        try:
            yield
        except Exception as error:  # any failure of a step is a result, not the end of the run
            self.failed += 1
            print(f"FAIL {self.label}: {name}: {error}", flush=True)
            if not isinstance(error, (AssertionError, CommandFailed)):
                traceback.print_exc(file=sys.stdout)
        else:
            self.passed += 1
            print(f"ok   {self.label}: {name} ({time.monotonic() - start:.1f} s)", flush=True)


class CommandFailed(Exception):
    """A client ended with another exit code than expected."""


class Target:
    """An FTP server to test: its address, the account, and the store that holds its files."""

    def __init__(self, host, port, user, password, store, work):
        self.host = host
        self.port = port
        self.user = user
        self.password = password
        self.store = store
        self.work = work
        self.home = work / "home"
        self.home.mkdir(parents=True, exist_ok=True)

    def url(self, path=""):
        return f"ftp://{self.host}:{self.port}/{urllib.parse.quote(path)}"

    def run(self, argv, text=None, status=0, timeout=300):
        """Runs a client with an empty home directory. Returns its output or raises CommandFailed."""
        environment = dict(os.environ, HOME=str(self.home), LC_ALL="C.UTF-8", LANG="C.UTF-8")
        try:
            done = subprocess.run(
                [str(word) for word in argv],
                input=text.encode() if text is not None else None,
                stdin=subprocess.DEVNULL if text is None else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.work,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(f"{argv[0]} still ran after {timeout} s: {tail(error.stdout or b'')}") from None
        if status is not None and done.returncode != status:
            raise CommandFailed(f"{argv[0]} ended with {done.returncode}, not {status}: {tail(done.stdout)}")
        return done.stdout

    def stored(self, key, expected):
        """Asserts that the object, read by S3, has exactly these bytes."""
        same(self.store.get(key), expected, f"object {key!r}")

    def absent(self, key):
        assert not self.store.exists(key), f"object {key!r} exists"

    def fresh(self, name):
        """An empty local directory."""
        path = self.work / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def file(self, name, content):
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


def tail(output, size=1500):
    return output.decode(errors="replace")[-size:]


def same(found, expected, what):
    assert found is not None, f"{what} is not there"
    if found != expected:
        at = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), min(len(found), len(expected)))
        raise AssertionError(f"{what} has {len(found)} bytes for {len(expected)}, and differs from byte {at} on")


def content(size, seed=0):
    """Reproducible bytes that don't repeat, so that a misplaced part shows."""
    return random.Random(size * 1000 + seed).randbytes(size)


def until(condition, deadline, what):
    """Waits until the condition holds; raises AssertionError after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {deadline} s"
        time.sleep(0.02)


def free_port():
    """A port on which no process listens; another one at each call.

    It is outside the range from which the system takes ports for connections and for port 0.
    Otherwise another process could get it before the server starts or while it restarts.
    """
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    outside = [port for port in range(10_000, 1 << 16) if not first <= port <= last and port not in given]
    while True:
        # If that range has all ports, use one of it.
        port = random.SystemRandom().choice(outside or [0])
        try:
            with socket.create_server(("127.0.0.1", port)) as server:
                given.add(server.getsockname()[1])
                return server.getsockname()[1]
        except OSError:
            outside.remove(port)


given = set()


# --- trees ---------------------------------------------------------------------------------------------------------

PLAIN_NAMES = ["one.txt", "two words.txt", "three-3.bin", "Übung.txt", "日本語.dat", "😀.png"]

ODD_NAMES = PLAIN_NAMES + [
    "-dash", "--help", ".hidden", "..two", "...", "semi;colon", "amp&and", "pipe|", "dollar$HOME", "back`tick`",
    'quo"te', "apo's", "back\\slash", "pct%41", "pct%", "100%25", "pl+us", "ha#sh", "que?ry", "[brackets]", "{braces}",
    "star*", "~tilde", "!bang", "eq=ual", "com,ma", "at@sign", "col:on", "caret^", "<angle>", "(paren)", "a  b   c",
    " leading", "trailing ", "e\u0301 decomposed", "Привет мир", "x" * 200, "ü" * 100,
] + [f"plane {plane} {chr(plane * 0x10000 + 0x41b)}" for plane in range(17)]  # fmt: skip


def make_tree(root, names):
    """Makes files of these names at several depths: empty, small, and one of several parts; and
    empty directories."""
    files = {}
    deep = "/".join(f"level {n}" for n in range(12))
    for directory in ("", "sub dir/", f"{deep}/"):
        for number, name in enumerate(names if not directory.startswith("level") else names[:3]):
            files[directory + name] = content(0 if number % 7 == 3 else 20 + 997 * number, number)
    files["sub dir/large.bin"] = content(PART + 12345)
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    directories = {"empty", "sub dir/empty [2]"}
    for path in directories:
        (root / path).mkdir(parents=True)
    return files, directories


def same_tree(root, files, directories=()):
    """Asserts that a local directory has exactly these files, and at least these directories."""
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    missing, extra = sorted(set(files) - found), sorted(found - set(files))
    assert not missing and not extra, f"missing {missing[:5]}, unexpected {extra[:5]}"
    for path, data in files.items():
        same((root / path).read_bytes(), data, path)
    for path in directories:
        assert (root / path).is_dir(), f"directory {path!r} is missing"


# --- stores --------------------------------------------------------------------------------------------------------


class Directory:
    """The root directory of another FTP server: its files take the place of objects."""

    def __init__(self, root):
        self.root = Path(root)

    def get(self, key):
        path = self.root / key
        return path.read_bytes() if path.is_file() else None

    def exists(self, key):
        return (self.root / key).is_file()


class RealStore(s3.S3):
    """A store that stores.sh runs."""

    def __init__(self, directory):
        env = s3.read_env(directory / "env")
        super().__init__(env["ENDPOINT"], env["REGION"], env["ACCESS_KEY"], env["SECRET_KEY"], env["BUCKET"])
        self.endpoint = env["ENDPOINT"]
        self.name = env["STORE"]
        self.directory = directory

    @classmethod
    def start(cls, name, directory):
        stores_sh("start", name, directory)
        return cls(directory)

    def start_again(self):
        stores_sh("start", self.name, self.directory)

    def kill(self):
        stores_sh("kill", self.directory)

    def stop(self):
        stores_sh("stop", self.directory)


def stores_sh(*words):
    subprocess.run([HERE / "stores.sh", *words], check=True, stdin=subprocess.DEVNULL)


# --- the gateway ---------------------------------------------------------------------------------------------------


class Gateway:
    """s3ftpd as a child process."""

    def __init__(self, argv, port, log, admin=None):
        self.argv = [str(word) for word in argv]
        self.port = port
        self.log = log
        self.admin = admin
        self.process = None
        self.starts = 0

    def start(self):
        self.starts += 1
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self.ready, 60, "the gateway's greeting")

    def ready(self):
        code = self.process.poll()
        assert code is None, f"the gateway ended with {code}: {tail(self.log.read_bytes())}"
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
                return connection.recv(4).startswith(b"220")
        except OSError:
            return False

    def probe(self, path):
        """The HTTP status of a health endpoint."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=30) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def ended(self, within):
        """Waits for the exit code; raises AssertionError after `within` seconds."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the gateway still runs {within} s after SIGTERM") from None

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
