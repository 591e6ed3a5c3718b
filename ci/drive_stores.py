"""`check --stores` against a real store: what it reports, its exit codes, and that it leaves nothing."""

import json
import os
import subprocess

# What each store can do; src/behaviour.rs of crates/s3-embedded says the same of it.
EVERYTHING = {
    "checksums": True,
    "full_object_checksums": True,
    "conditional_writes": True,
    "conditional_complete": True,
    "conditional_deletes": True,
    "files_hide_directories": False,
}
CAN = {
    "versitygw": EVERYTHING,
    "minio": {**EVERYTHING, "conditional_deletes": False, "files_hide_directories": True},
    "garage": {
        **EVERYTHING,
        "conditional_writes": False,
        "conditional_complete": False,
        "conditional_deletes": False,
    },
}


def drive(steps, binary, gateway, store):
    config = gateway.argv[-1]
    with steps.step("check --stores --write: everything is allowed, and nothing is left"):
        before = sorted(store.keys())
        code, report = check(binary, config, "--write")
        buckets = report["stores"][0]["buckets"]
        assert (code, report["ok"], len(buckets)) == (0, True, 1), report
        names = [step["step"] for step in buckets[0]["steps"]]
        assert names == ["list", "put", "get", "copy", "multipart", "abort", "delete"], report
        assert buckets[0]["can"] == CAN[store.name], report
        assert sorted(store.keys()) == before, sorted(store.keys())
        assert not store.open_uploads(), store.open_uploads()
    rows = [
        ("a wrong secret", {"S3FTPD__STORES__MAIN__SECRET_ACCESS_KEY": "x" * 40}, "credentials"),
        ("an unknown access key", {"S3FTPD__STORES__MAIN__ACCESS_KEY_ID": "GK" + "0" * 24}, "credentials"),
        ("another region", {"S3FTPD__STORES__MAIN__REGION": "mars-north-1"}, "credentials"),
        ("a missing bucket", {"S3FTPD__MOUNTS__ALL__BUCKET": "no-such-bucket"}, "no_bucket"),
        ("no store at all", {"S3FTPD__STORES__MAIN__ENDPOINT": "http://127.0.0.1:9"}, "unreachable"),
        ("https to http", {"S3FTPD__STORES__MAIN__ENDPOINT": f"https://{store.host}"}, "unreachable"),
    ]
    # Garage has no temporary credentials.
    if store.name != "garage":
        token = {"S3FTPD__STORES__MAIN__SESSION_TOKEN": "not one"}
        rows.append(("a wrong session token", token, "credentials"))
    for name, variables, failure in rows:
        with steps.step(f"check --stores: {name}"):
            code, report = check(binary, config, **variables)
            failures = failed(report)
            assert code == 3 and failures == {failure}, (code, report)


def check(binary, config, *options, **variables):
    command = [binary, "--log", "off", "check", "--config", config, "--stores", "--format", "json", *options]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={**os.environ, **variables}, timeout=300
    )
    return done.returncode, json.loads(done.stdout)


def failed(report):
    """The classes of the steps that failed."""
    buckets = [bucket for store in report["stores"] for bucket in store["buckets"]]
    steps = [step for bucket in buckets for step in bucket["steps"]]
    return {step["failure"]["class"] for step in steps if not step["ok"]}
