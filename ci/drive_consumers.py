"""Clients that download with the producer's account and from its address, while an upload of the
file runs or after it was interrupted. None may succeed with anything but a whole version."""

import contextlib
import ftplib
import itertools
import os
import shutil
import subprocess
import threading
import time

from harness import content, until
from sessions import begun, broken, connect, put

STORED, SENT, NEXT = 300_000, 200_000, 400_000


def drive(t, steps):
    login = f"{t.user}:{t.password}"
    ncftp = ["-V", "-t", "20", "-r", "2", "-u", t.user, "-p", t.password, "-P", str(t.port)]
    settings = "set cmd:fail-exit yes\nset net:max-retries 3\nset net:timeout 20\nset net:reconnect-interval-base 1\n"
    settings += "set pget:min-chunk-size 10k\nset ftp:ssl-allow no\n"

    def lftp(script):
        return ["lftp", "--norc"], f"{settings}open -u {t.user},{t.password} ftp://{t.host}:{t.port}\n{script}\n"

    def wget(*options):
        account = [f"--user={t.user}", f"--password={t.password}"]
        return lambda d, k: (["wget", "-q", "-t", "3", "-T", "20", *account, *options, "-P", d, t.url(k)], None)

    # Each gets the local directory to download to, and the path of the file on the server.
    clients = {
        "curl": lambda d, k: (["curl", "-gsS", "-u", login, t.url(k), "-o", d / "f"], None),
        "curl --retry": lambda d, k: (
            ["curl", "-gsS", "--retry", "3", "--retry-all-errors", "-u", login, t.url(k), "-o", d / "f"], None),
        "curl -C -": lambda d, k: (["curl", "-gsS", "-C", "-", "-u", login, t.url(k), "-o", d / "f"], None),
        "lftp get": lambda d, k: lftp(f"get /{k} -o {d}/f"),
        "lftp get -c": lambda d, k: lftp(f"get -c /{k} -o {d}/f"),
        "lftp pget": lambda d, k: lftp(f"pget -n 4 /{k} -o {d}/f"),
        "lftp pget, one connection": lambda d, k: lftp(f"set net:connection-limit 1\npget -n 4 /{k} -o {d}/f"),
        "lftp pget -c": lambda d, k: lftp(f"pget -c -n 4 /{k} -o {d}/f"),
        "lftp mirror": lambda d, k: lftp(f"mirror /{k.rsplit('/', 1)[0]} {d}"),
        "lftp mirror -c --use-pget-n=4": lambda d, k: lftp(f"mirror -c --use-pget-n=4 /{k.rsplit('/', 1)[0]} {d}"),
        # 4.9.2 hangs if a redirected cat fails under cmd:fail-exit.
        "lftp cat": lambda d, k: lftp(f"set cmd:fail-exit no\ncat /{k} > {d}/f"),
        "wget": wget(),
        "wget -c": wget("-c"),
        "ncftpget": lambda d, k: (["ncftpget", *ncftp, t.host, d, f"/{k}"], None),
        "ncftpget -z": lambda d, k: (["ncftpget", *ncftp, "-z", t.host, d, f"/{k}"], None),
    }
    stored, following = content(STORED, 1), content(NEXT, 2)

    with connect(t) as ftp:
        ftp.mkd("consumers")
        cases = {}
        for number, name in enumerate(clients):
            # `before`: the client finds the beginning of an earlier download, and resumes it.
            resumes = "-c" in name.lower() or "-z" in name
            cases[name] = [
                (f"consumers/{number}-{place}", exists, runs, before)
                for place, (exists, runs, before) in enumerate(itertools.product((True, False), repeat=3))
                if not before or (resumes and exists)
            ]
            for directory, exists, _, _ in cases[name]:
                ftp.mkd(directory)
                if exists:
                    put(t, f"{directory}/f", stored)
    for name in ("consumers/resumed-0", "consumers/resumed-1"):
        put(t, name, stored)
    # The server discards an interrupted upload that began in the second of the object's write,
    # since the object may be newer.
    written = time.monotonic()
    until(lambda: time.monotonic() > written + 2.1, 10, "the objects are older")

    for name, command in clients.items():
        with steps.step(f"consumers: {name}"):
            outcomes = [fetch(t, command, *case, stored, following) for case in cases[name]]
            print(f"     (exit codes {', '.join(outcomes)})")

    with steps.step("consumers: while whole versions follow each other"):
        put(t, "consumers/versions", stored)
        stop = threading.Event()
        producer = threading.Thread(target=versions, args=(t, stop, stored, following))
        producer.start()
        try:
            good = 0
            for number in range(40):
                directory = t.fresh("consumer")
                name = ("curl", "wget", "lftp get", "ncftpget")[number % 4]
                code = run(t, *clients[name](directory, "consumers/versions"))
                found = next((path.read_bytes() for path in directory.iterdir()), None)
                good += code == 0
                assert code != 0 or found in (stored, following), f"{name}: exit code 0 with {found and len(found)} bytes"
            print(f"     ({good} of 40 ended with success)")
        finally:
            stop.set()
            producer.join()

    with steps.step("consumers: after a refused download the producer resumes, or starts over, to a whole file"):
        for number, resumes in enumerate((curl_resumes, lftp_resumes)):
            key = f"consumers/resumed-{number}"
            broken(t, key, following[:SENT])
            code = run(t, *clients["curl"](t.fresh("consumer"), key))
            assert code != 0, "curl was not refused"
            path = t.file("resumed.bin", following)
            resumes(t, key, path)
            assert t.store.get(key) in (stored, following), f"{number}: neither of both versions"
            resumes(t, key, path, anew=True)
            t.stored(key, following)
            assert t.run(["curl", "-gsS", "-u", login, t.url(key)]) == following

    with steps.step("consumers: DELE removes interrupted uploads"):
        keys = [f"{directory}/f" for name in clients for directory, *_ in cases[name]]

        def removed():
            with connect(t) as ftp:
                for key in keys:
                    with contextlib.suppress(ftplib.error_perm):
                        ftp.delete(key)
            return not t.store.state(".s3ftpd/uploads/")

        until(removed, 60, "records are gone")


def fetch(t, command, directory, exists, runs, begun_before, stored, following):
    """Runs one client twice, as a job with a retry would. Returns its exit codes."""
    key = f"{directory}/f"
    local = t.fresh("consumer")
    running = begun(t, key, following[:SENT]) if runs else broken(t, key, following[:SENT])
    try:
        codes = []
        for _ in range(2):
            shutil.rmtree(local)
            local.mkdir()
            if begun_before:
                (local / "f").write_bytes(stored[:100_000])
            code = run(t, *command(local, key))
            codes.append(code)
            path = local / "f"
            found = path.read_bytes() if path.exists() else None
            # mirror and cat end with success if there is no file to fetch.
            whole = found == stored if exists else not found
            what = f"object: {exists}, upload runs: {runs}, begun before: {begun_before}"
            assert code != 0 or whole, f"{what}: exit code 0 with {len(found or b'')} bytes"
        return "/".join(map(str, codes))
    finally:
        if running:
            session, data = running
            session.putcmd("ABOR")
            data.close()
            session.close()


def versions(t, stop, *whole):
    while not stop.is_set():
        for version in whole:
            put(t, "consumers/versions", version)


def run(t, argv, text):
    """Runs a client, and returns its exit code."""
    environment = dict(os.environ, HOME=str(t.home), LC_ALL="C.UTF-8", LANG="C.UTF-8")
    done = subprocess.run(
        [str(word) for word in argv],
        input=(text or "").encode(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=t.work,
        timeout=120,
        check=False,
    )
    return done.returncode


def curl_resumes(t, key, path, anew=False):
    resume = [] if anew else ["-C", "-"]
    run(t, ["curl", "-gsS", "-u", f"{t.user}:{t.password}", *resume, "-T", path, t.url(key)], None)


def lftp_resumes(t, key, path, anew=False):
    script = f"open -u {t.user},{t.password} ftp://{t.host}:{t.port}\nput {'' if anew else '-c'} {path} -o /{key}\n"
    settings = "set net:max-retries 1\nset net:timeout 20\nset ftp:ssl-allow no\n"
    run(t, ["lftp", "--norc"], settings + script)
