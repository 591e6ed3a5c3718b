"""FTPS with ten clients: TLS 1.2 and 1.3, explicit and, if the client can, implicit; with the server's
name (SNI); with `require_session_reuse`; and 1,000 sizes in a row.

The programs in tls-clients/ use libraries that `tools.sh tls` installs. Their arguments are host,
port, user, password, explicit or implicit, 1.2 or 1.3, the certificate, a local directory and a
remote one. Each makes the remote directory, uploads the files in up/, downloads them to down/, and
prints the names of the listing.
"""

import copy
import functools
import itertools
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import HERE, MIB, CommandFailed, content, free_port, same, until

SIZES = [0, 1, 64 << 10, 5 * MIB + 1, 23 * MIB]
RECORD = 16 << 10  # bytes of a TLS record at most
ROW = [*range(965), *(n * RECORD + step for n in (1, 2, 3, 4, 8) for step in range(-3, 4))]
ROW_TIMEOUT = 900  # seconds: a thousand files, four rows in parallel, on a slow machine
PROGRAMS = HERE / "tls-clients"
CACHE = Path(os.environ.get("S3FTPD_CI_CACHE", Path.home() / ".cache/s3ftpd-ci")) / "tls-clients"
BOTH = ("explicit", "implicit")
VERSIONS = ("1.2", "1.3")

# The clients with `require_session_reuse`, with TLS 1.2 and 1.3. The page on FTPS has it as a table.
WORKS, FIRST, REFUSED = "works", "its first data connection only", "is refused"
STRICT = {
    # curl 7.88 and Ruby keep the last of the TLS 1.3 tickets, and use it once.
    "curl": (WORKS, FIRST),
    "lftp": (WORKS, WORKS),
    "ftplib": (REFUSED, REFUSED),
    "ftplib with session reuse": (WORKS, WORKS),
    "Perl's Net::FTP": (REFUSED, REFUSED),
    "Ruby's Net::FTP": (WORKS, FIRST),
    # Go resumes a session of TLS 1.2 only by a ticket, and the server sends none. It ends a TLS 1.3
    # connection that brings more than 16.
    "jlaffaye-ftp": (REFUSED, WORKS),
    # Its control connections share one cache, so a data connection may resume another one's session.
    "rclone": (REFUSED, None),
    "rclone with one connection": (REFUSED, WORKS),
    "basic-ftp": (WORKS, WORKS),
    "Commons Net": (REFUSED, REFUSED),
    "aioftp": (WORKS, WORKS),
}
REFUSAL = "must resume the TLS session of the control connection"


def drive(steps, serve, work):
    """`serve(name, settings, listener)` makes a gateway."""
    gateways = []

    def gateway(name, more=""):
        port = free_port()
        gateway, target = serve(
            name,
            f'[tls]\ncertificate = "{ca}"\nkey = "{ca}"\ncontrol = "required"\ndata = "required"\n{more}',
            f'{{ address = "127.0.0.1:{port}", tls = "implicit" }}',
        )
        gateways.append(gateway)
        gateway.start()
        return Clients(target, ca, {"explicit": target.port, "implicit": port}, gateway.log)

    try:
        with steps.step("tls: start"):
            ca = certificate(work)
            clients = gateway("tls")
            strict = gateway("tls-strict", "require_session_reuse = true")
            clients.build()
            strict.built = clients.built
        with ThreadPoolExecutor(4) as pool:
            running = rows(pool, clients)
            each(steps, clients)
            by_name(steps, clients)
            session_reuse(steps, strict)
            reap(steps, running)
        for one in gateways:
            with steps.step(f"tls: the gateway ends with nothing left open ({one.log.parent.name})"):
                one.terminate()
                code = one.ended(60)
                assert code == 0, f"it ended with {code}"
    finally:
        for one in gateways:
            one.kill()
            if steps.failed:
                print(f"---- {one.log.parent.name}:\n{one.log.read_text(errors='replace')[-4000:]}", flush=True)


def certificate(work):
    """Makes a self-signed certificate, in one file with its key."""
    path = work / "tls.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        + ["-keyout", path, "-out", f"{path}.crt"],
        check=True,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with open(path, "a") as both:
        both.write(Path(f"{path}.crt").read_text())
    return path


def demo(steps, target):
    """The demo's generated certificate, which the client can't verify."""
    with steps.step("tls: the demo's own certificate"):
        curl = ["curl", "-gsS", "-u", f"{target.user}:{target.password}", "--ssl-reqd", "-k"]
        data = content(100_000, 3)
        target.run([*curl, "-T", target.file("demo.bin", data), target.url("tls-demo.bin")])
        target.stored("tls-demo.bin", data)
        same(target.run([*curl, target.url("tls-demo.bin")]), data, "download")


class Clients:
    """How to call each client; `exchange` is the work that it does."""

    def __init__(self, target, ca, ports, log):
        self.target = target
        self.ca = f"{ca}.crt"
        self.ports = ports
        self.log = log
        self.built = target.work / "built"

    def by_name(self):
        """The same clients, which use the server's name and send it in their handshakes (SNI)."""
        named = copy.copy(self)
        named.target = copy.copy(self.target)
        named.target.host = "localhost"
        return named

    def build(self):
        """Compiles the two clients that need it."""
        self.built.mkdir()
        for client, argv, directory in (
            ("jlaffaye-ftp", ["go", "build", "-o", self.built / "jlaffaye", PROGRAMS / "jlaffaye.go"], CACHE / "go"),
            ("Commons Net", ["javac", "-cp", self.jars(), "-d", self.built, PROGRAMS / "CommonsNet.java"], None),
        ):
            if not self.installed(client):
                continue
            done = subprocess.run(argv, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            if done.returncode:
                raise CommandFailed(f"{argv[0]}: {done.stderr.decode(errors='replace')}")

    @staticmethod
    def installed(client):
        """Whether `tools.sh tls` could install it. The clients that are not named here are on each
        machine."""
        perl = ["perl", "-MIO::Socket::SSL", "-e", "1"]
        found = {
            "Perl's Net::FTP": lambda: shutil.which("perl") and subprocess.run(perl, capture_output=True).returncode == 0,
            "Ruby's Net::FTP": lambda: shutil.which("ruby"),
            "jlaffaye-ftp": lambda: (CACHE / "go/go.sum").exists(),
            "rclone": lambda: shutil.which("rclone"),
            "rclone with one connection": lambda: shutil.which("rclone"),
            "basic-ftp": lambda: shutil.which("node") and (CACHE / "node/node_modules/basic-ftp").exists(),
            "Commons Net": lambda: shutil.which("javac") and Clients.jars(),
            "aioftp": lambda: any((CACHE / "venv").glob("lib/*/site-packages/aioftp")),
        }
        return bool(found.get(client, lambda: True)())

    @staticmethod
    def jars():
        return ":".join(str(path) for path in sorted((CACHE / "java").glob("*.jar")))

    def all(self):
        """Name → modes and call."""
        python = [sys.executable, PROGRAMS / "ftplib_client.py"]
        node = ["env", f"MODULES={CACHE}/node/node_modules", "node", PROGRAMS / "basic_ftp.js"]
        return {
            "curl": (BOTH, self.curl),
            "lftp": (BOTH, self.lftp),
            "ftplib": (BOTH, self.program(*python)),
            "ftplib with session reuse": (BOTH, self.program(*python, last=["reuse"])),
            "Perl's Net::FTP": (BOTH, self.program("perl", PROGRAMS / "net_ftp.pl")),
            "Ruby's Net::FTP": (("explicit",), self.program("ruby", PROGRAMS / "net_ftp.rb")),
            "jlaffaye-ftp": (BOTH, self.program(self.built / "jlaffaye")),
            "rclone": (BOTH, self.rclone),
            "rclone with one connection": (BOTH, functools.partial(self.rclone, connections=1)),
            "basic-ftp": (BOTH, self.program(*node)),
            "Commons Net": (BOTH, self.program("java", "-cp", f"{self.jars()}:{self.built}", "CommonsNet")),
            "aioftp": (BOTH, self.program(CACHE / "venv/bin/python", PROGRAMS / "aioftp_client.py")),
        }  # fmt: skip

    def program(self, *argv, last=()):
        def call(mode, version, directory, remote):
            t = self.target
            there = [t.host, self.ports[mode], t.user, t.password, mode, version, self.ca, directory, remote]
            return t.run([*argv, *there, *last])

        return call

    def curl(self, mode, version, directory, remote):
        t, names = self.target, sorted(path.name for path in (directory / "up").iterdir())
        url = f"{'ftps' if mode == 'implicit' else 'ftp'}://{t.host}:{self.ports[mode]}/{remote}/"
        versions = ["--tlsv1.2", "--tls-max", "1.2"] if version == "1.2" else ["--tlsv1.3"]
        curl = ["curl", "-gsS", "--fail-early", "-u", f"{t.user}:{t.password}", "--ssl-reqd", "--cacert", self.ca]
        curl += versions

        def many(option, local):
            def session(some):
                lines = [f'{option} = "{local}/{name}"\nurl = "{url}{name}"' for name in some]
                t.run([*curl, "--ftp-create-dirs", "-K", "-"], text="\n".join(lines), timeout=ROW_TIMEOUT)

            # curl sleeps for a second at about 2 % of the files, so four share a long row.
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(session, [names[n::4] for n in range(4)] if len(names) > 100 else [names]))

        many("upload-file", directory / "up")
        many("output", directory / "down")
        for name in names:
            (directory / "down" / name).touch()  # curl makes no file for an empty one
        return t.run([*curl, "--list-only", url])

    def lftp(self, mode, version, directory, remote):
        t, names = self.target, sorted(path.name for path in (directory / "up").iterdir())
        scheme = "ftps" if mode == "implicit" else "ftp"
        script = [
            "set cmd:fail-exit yes", "set net:max-retries 1", "set net:timeout 60", "set xfer:log no",
            "set ftp:ssl-force yes", "set ftp:ssl-protect-data yes", f"set ssl:ca-file {self.ca}",
            f"set ssl:priority NORMAL:-VERS-ALL:+VERS-TLS{version}",
            f"open -u {t.user},{t.password} {scheme}://{t.host}:{self.ports[mode]}",
            f"mkdir {remote}", f"cd {remote}",
            f"lcd {directory}/up", *(f"put {name}" for name in names),
            f"lcd {directory}/down", *(f"get {name}" for name in names),
            "cls -1",
        ]  # fmt: skip
        output = t.run(["lftp", "--norc"], text="\n".join(script) + "\n", timeout=ROW_TIMEOUT)
        return b"\n".join(line for line in output.splitlines() if b" " not in line)

    def rclone(self, mode, version, directory, remote, connections=0):
        t = self.target
        obscured = t.run(["rclone", "obscure", t.password]).decode().strip()
        settings = {
            "TYPE": "ftp", "HOST": t.host, "PORT": self.ports[mode], "USER": t.user, "PASS": obscured,
            "TLS" if mode == "implicit" else "EXPLICIT_TLS": "true", "DISABLE_TLS13": str(version == "1.2").lower(),
            "CONCURRENCY": connections,
        }  # fmt: skip
        rclone = ["env", f"SSL_CERT_FILE={self.ca}"]
        rclone += [f"RCLONE_CONFIG_S_{key}={value}" for key, value in settings.items()]
        rclone += ["rclone", "--config", "/dev/null", "--retries", "1", "--low-level-retries", "1"]
        t.run([*rclone, "copy", directory / "up", f"S:{remote}"])
        t.run([*rclone, "copy", f"S:{remote}", directory / "down"])
        return t.run([*rclone, "lsf", f"S:{remote}"])

    @staticmethod
    def remote(name, mode, version, prefix):
        return "-".join([prefix, *re.findall(r"\w+", name.lower()), mode, version])

    def exchange(self, name, call, mode, version, files, prefix="tls"):
        """Asserts that the store, the downloads and the listing have exactly these files."""
        t = self.target
        remote = self.remote(name, mode, version, prefix)
        directory = t.fresh(remote)
        (directory / "up").mkdir()
        (directory / "down").mkdir()
        for file, data in files.items():
            (directory / "up" / file).write_bytes(data)
        listed = call(mode, version, directory, remote).decode().split()
        for file, data in files.items():
            t.stored(f"{remote}/{file}", data)
            same((directory / "down" / file).read_bytes(), data, f"download of {file}")
        assert sorted(Path(line).name for line in listed) == sorted(files), f"listed: {listed}"
        # All clients together would need gigabytes.
        shutil.rmtree(directory)
        for file in (file for file, data in files.items() if len(data) > MIB):
            t.store.delete(f"{remote}/{file}")


def each(steps, clients):
    """Each client, two in parallel: starting a client and hashing its files takes the most time."""
    files = {f"{size}.bin": content(size) for size in SIZES}
    there = {name: call for name, call in clients.all().items() if clients.installed(name)}
    for name in clients.all().keys() - there:
        print(f"left out: tls: {name} is not installed", flush=True)
    with ThreadPoolExecutor(2) as pool:
        running = {
            f"tls: {name}, {mode}, TLS {version}": pool.submit(clients.exchange, name, call, mode, version, files)
            for name, (modes, call) in there.items()
            for mode in modes
            for version in VERSIONS
        }  # fmt: skip
        reap(steps, running)


def by_name(steps, clients):
    """Clients of different TLS libraries."""
    files = {f"{size}.bin": content(size) for size in (0, 100_000)}
    named = clients.by_name()
    for name, version in itertools.product(("curl", "lftp", "ftplib"), VERSIONS):
        with steps.step(f"tls: by the server's name, {name}, TLS {version}"):
            named.exchange(name, named.all()[name][1], "explicit", version, files, "named")


def session_reuse(steps, clients):
    """With `require_session_reuse`: the clients that resume the session work, the others get a 522."""
    for name, (modes, _) in clients.all().items():
        if not clients.installed(name):
            continue
        for mode, version in itertools.product(modes, VERSIONS):
            found = STRICT[name][VERSIONS.index(version)]
            if not found:
                continue
            with steps.step(f"tls: require_session_reuse, {name}, {mode}, TLS {version}: {found}"):
                strictly(clients, name, mode, version, found, "strict")
    named = clients.by_name()
    for name, version in itertools.product(("curl", "lftp", "ftplib with session reuse"), VERSIONS):
        found = STRICT[name][VERSIONS.index(version)]
        with steps.step(f"tls: require_session_reuse, by the server's name, {name}, TLS {version}: {found}"):
            strictly(named, name, "explicit", version, found, "strict-named")


def strictly(clients, name, mode, version, found, prefix):
    call = clients.all()[name][1]
    ten = {f"{size}.bin": content(size, 1) for size in (0, 1, 2, 3, 4, 5, 6, 7, 8, 100_000)}
    if found == WORKS:
        return clients.exchange(name, call, mode, version, ten, prefix)
    first = {"100000.bin": content(100_000, 1)}
    if (name, found) == ("curl", FIRST):
        # Each call of curl is a new session.
        clients.exchange(name, call, mode, version, first, prefix)
        prefix += "-more"
    remote = clients.remote(name, mode, version, prefix)
    before = clients.log.stat().st_size
    try:
        clients.exchange(name, call, mode, version, ten if name == "curl" else first, prefix)
    except (CommandFailed, AssertionError):
        # Clients report a 522 in different ways, so look at the gateway's log, which is written a
        # little later.
        try:
            until(lambda: REFUSAL.encode() in clients.log.read_bytes()[before:], 5, "the refusal")
        except AssertionError:
            said = clients.log.read_bytes()[before:].decode(errors="replace")
            raise AssertionError(f"another failure than a refusal: {said[-2000:]}") from None
    else:
        raise AssertionError("was not refused")
    if (name, found) == ("curl", FIRST):
        return None
    if found == FIRST:
        clients.target.stored(f"{remote}/100000.bin", first["100000.bin"])
    else:
        clients.target.absent(f"{remote}/100000.bin")


def rows(pool, clients):
    """A thousand sizes in one session, with a TLS handshake each. A connection that ends too early or
    too late shows at some size.

    They start first and are checked last, since these clients mostly wait.
    """
    running = {}
    assert len(ROW) == 1000
    files = {f"{size}.bin": content(size, 2) for size in ROW}
    for client, version in itertools.product(("curl", "lftp"), ("1.3", "1.2")):
        call = pool.submit(clients.exchange, client, getattr(clients, client), "explicit", version, files, "row")
        running[f"tls: {len(files)} sizes in a row, {client}, TLS {version}"] = call
    return running


def reap(steps, running):
    for name, done in running.items():
        with steps.step(name):
            done.result()
