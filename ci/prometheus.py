#!/usr/bin/env python3
"""Tests the alert rules and the dashboard with Prometheus.

    prometheus.py BINARY

promtool checks the rules and runs their tests. Then Prometheus scrapes a gateway under mixed load, with
the rules loaded (without their waiting times), until the gateway's store is stopped: alerts must fire,
and each expression of a rule and of the dashboard must be understood and return data. It needs
prometheus, promtool and openssl.
"""

import ftplib
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import sessions
from harness import HERE, MIB, Gateway, Steps, Target, content, free_port, tail, until
from s3 import S3

CHART = HERE.parent / "helm/s3ftpd/files"
LOAD_SECONDS = 60
# The certificate expires in ten days, the store goes, and no receiver takes events.
FIRING = {
    "S3ftpdStoreErrors", "S3ftpdStoreDown", "S3ftpdTransfersFail", "S3ftpdCertificateExpires", "S3ftpdHookFails",
    "S3ftpdEventsLost",
}

CONFIG = """
listen = ["127.0.0.1:{ftp}"]
[admin]
listen = "127.0.0.1:{admin}"
[metrics]
last_uploads = 10
[passive]
ports = "auto"
[timeouts]
data_connect = "2s"
[tls]
certificate = "{work}/tls.crt"
key = "{work}/tls.key"
[login_failures]
delay = "10ms"
max_delay = "50ms"
ban_after = 0
ban_user_after = 2
[stores.main]
endpoint = "http://127.0.0.1:{s3}"
access_key_id = "demo"
secret_access_key = "demo-secret"
[stores.denied]
endpoint = "http://127.0.0.1:{s3}"
access_key_id = "demo"
secret_access_key = "wrong"
[mounts.main]
store = "main"
bucket = "demo"
[mounts.denied]
store = "denied"
bucket = "demo"
[events.down]
url = "http://127.0.0.1:1/"
retry_for = "5s"
[users.partner]
password = "{password}"
mounts = {{ "/" = "main", "/denied" = "denied" }}
[users.guessed]
password = "{password}"
mounts = {{ "/" = "main" }}
"""

PROMETHEUS = """
global: {{ scrape_interval: 1s, evaluation_interval: 1s }}
rule_files: [alerts.yaml]
scrape_configs:
  - job_name: s3ftpd
    static_configs: [{{ targets: ["127.0.0.1:{admin}"] }}]
"""


class Prometheus:
    """Prometheus as a child process."""

    def __init__(self, work, admin):
        self.port = free_port()
        self.log = work / "prometheus.log"
        rules = (CHART / "alerts.yaml").read_text()
        (work / "alerts.yaml").write_text(re.sub(r"for: \w+", "for: 1s", rules))
        (work / "prometheus.yaml").write_text(PROMETHEUS.format(admin=admin))
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={work}/prometheus.yaml", f"--storage.tsdb.path={work}/tsdb",
                 f"--web.listen-address=127.0.0.1:{self.port}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )

    def get(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                # It still starts.
                raise
            raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from None

    def query(self, expression):
        return self.get("query", query=expression)["result"]

    def scrapes(self):
        """Whether the gateway is being scraped; raises AssertionError if its answer is refused."""
        assert self.process.poll() is None, tail(self.log.read_bytes())
        try:
            targets = self.get("targets")["activeTargets"]
        except OSError:
            return False
        assert not any(target["lastError"] for target in targets), targets
        return [target["health"] for target in targets] == ["up"]

    def rules(self):
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def firing(self):
        alerts = self.get("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def main():
    binary = Path(sys.argv[1]).resolve()
    steps = Steps("prometheus")
    with steps.step("promtool accepts the rules"):
        run("promtool", "check", "rules", CHART / "alerts.yaml")
    with tempfile.TemporaryDirectory() as directory, steps.step("the tests of the rules"):
        for path in (CHART / "alerts.yaml", HERE / "prometheus/alerts_test.yaml"):
            shutil.copy(path, directory)
        tested = set(re.findall(r"alertname: (\w+)", (HERE / "prometheus/alerts_test.yaml").read_text()))
        defined = set(re.findall(r"alert: (\w+)", (CHART / "alerts.yaml").read_text()))
        assert tested == defined, f"without a test: {defined - tested}; unknown: {tested - defined}"
        run("promtool", "test", "rules", Path(directory) / "alerts_test.yaml")
    with tempfile.TemporaryDirectory() as directory:
        live(binary, Path(directory), steps)
    print(f"{steps.passed} passed, {steps.failed} failed")
    sys.exit(1 if steps.failed else 0)


def live(binary, work, steps):
    demo, gateway, target = start(binary, work)
    prometheus = Prometheus(work, gateway.admin)
    load = Load(target)
    try:
        with steps.step("Prometheus scrapes the gateway"):
            until(prometheus.scrapes, 60, "a scrape")
        load.start()
        time.sleep(LOAD_SECONDS)
        with steps.step("the load has run"):
            # On a busy machine a round takes long.
            until(lambda: load.rounds >= 2, 120, f"two rounds, last error: {load.error}")
            assert prometheus.scrapes()
        demo.kill()
        with steps.step("alerts fire after the store has gone"):
            wait_for_alerts(prometheus)
        with steps.step("each rule works and has data"):
            check_rules(prometheus)
        with steps.step("each expression of the dashboard has data"):
            check_dashboard(prometheus)
    finally:
        load.stop()
        for process in (prometheus.process, gateway.process, demo.process):
            process.kill()
            process.wait()


def start(binary, work):
    """A demo, whose store the gateway uses."""
    s3, ftp, admin, unused = (free_port() for _ in range(4))
    password = run(binary, "hash-password", text="secret\n").strip()
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "10",
        "-subj", "/CN=ftp.test", "-keyout", work / "tls.key", "-out", work / "tls.crt")
    config = work / "s3ftpd.toml"
    config.write_text(CONFIG.format(ftp=ftp, admin=admin, s3=s3, work=work, password=password))
    argv = [binary, "demo", "--listen", f"127.0.0.1:{unused}", "--s3-listen", f"127.0.0.1:{s3}"]
    demo = Gateway(argv, unused, work / "demo.log")
    demo.start()
    gateway = Gateway([binary, "serve", "--config", config], ftp, work / "gateway.log", admin)
    gateway.start()
    store = S3(f"http://127.0.0.1:{s3}", "us-east-1", "demo", "demo-secret", "demo")
    return demo, gateway, Target("127.0.0.1", ftp, "partner", "secret", store, work)


class Load(threading.Thread):
    """Transfers, listings, and all that goes wrong with them, until it is stopped."""

    def __init__(self, target):
        super().__init__(daemon=True)
        self.target = target
        self.rounds = 0
        self.error = None
        self.stopped = threading.Event()

    def run(self):
        while not self.stopped.is_set():
            try:
                self.round()
                self.rounds += 1
            except (ftplib.Error, OSError, EOFError, AssertionError) as error:
                # Without its store the gateway refuses nearly everything.
                self.error = error
                time.sleep(0.1)

    def stop(self):
        self.stopped.set()

    def round(self):
        self.refusals()
        with sessions.connect(self.target) as ftp:
            for size in (0, 4096, 300_000, 9 * MIB):
                ftp.storbinary(f"STOR file-{size}", io.BytesIO(content(size)))
                ftp.retrbinary(f"RETR file-{size}", lambda _: None)
            ftp.nlst()
            ftp.voidcmd("HASH file-4096")
            ftp.rename("file-0", "renamed")
            ftp.delete("renamed")
            self.stranger(ftp)
        sessions.broken(self.target, "interrupted", content(6 * MIB))

    def refusals(self):
        with sessions.connect(self.target) as ftp:
            for command in ("SIZE missing", "DELE missing", "RNFR missing", "NONSENSE", "CWD /denied/x"):
                try:
                    ftp.voidcmd(command)
                except ftplib.Error:
                    pass
            ftp.makepasv()
            ftp.sendcmd("LIST")
            assert sessions.refused(ftp.voidresp).startswith("425")
        guesser = ftplib.FTP(timeout=30)
        guesser.connect(self.target.host, self.target.port)
        for _ in range(3):
            try:
                guesser.login("guessed", "wrong")
            except ftplib.Error:
                pass
        guesser.close()

    def stranger(self, ftp):
        address = ftp.makepasv()
        with socket.create_connection(address, timeout=30, source_address=("127.0.0.9", 0)) as connection:
            try:
                connection.recv(1)
            except ConnectionResetError:
                pass


def wait_for_alerts(prometheus):
    firing = set()

    def fired():
        firing.update(prometheus.firing())
        return FIRING <= firing

    try:
        until(fired, 90, "alerts")
    except AssertionError:
        raise AssertionError(f"not firing: {FIRING - firing}") from None


def check_rules(prometheus):
    """Each rule was evaluated, and what it compares with a limit has data."""
    for rule in prometheus.rules():
        assert rule["health"] == "ok", rule
        compared, count = re.subn(r"\s(==|>|<) [0-9.]+$", "", rule["query"])
        if rule["query"].startswith("absent("):
            assert prometheus.query(rule["query"]) == [], rule
            continue
        assert count == 1, f"no limit at its end: {rule['query']}"
        assert prometheus.query(compared), f"{rule['name']} has no data: {compared}"


def check_dashboard(prometheus):
    dashboard = json.loads((CHART / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "2m").replace("$instance", ".*")
            result = prometheus.query(expression)
            assert result, f"{panel['title']} has no data: {expression}"
            labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            found = {label for sample in result for label in sample["metric"]}
            assert labels <= found, f"{panel['title']}: no {labels - found} in {found}"


def run(*argv, text=None):
    done = subprocess.run([str(word) for word in argv], input=text, capture_output=True, text=True)
    assert done.returncode == 0, f"{argv[0]}: {done.stdout}{done.stderr}"
    return done.stdout


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
