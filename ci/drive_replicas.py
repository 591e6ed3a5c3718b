"""Two gateways on one store: resuming each other's uploads, conditional writes, the sweep command."""

import ftplib
import re
import subprocess
import threading
import time

from harness import MIB, PART, content, tail, until
from sessions import begun, broken, connect, first_part, put, refused, size_of

# Whether the store honours If-None-Match at PutObject and CompleteMultipartUpload.
CONDITIONAL_WRITES = {"versitygw": True, "minio": True, "garage": False}
# Seconds. A process whose record is older than 2.5 refresh intervals counts as dead; the record's
# time has whole seconds.
REFRESH = 6
DEAD_AFTER = REFRESH * 2.5 + 2


def drive(steps, serve, store):
    """`serve(name, settings)` makes the gateway of a replica."""
    failed = steps.failed
    settings = f'[resume]\nrefresh = "{REFRESH}s"'
    first, at_first = serve("first", settings)
    second, at_second = serve("second", settings)
    try:
        first.start()
        second.start()
        with connect(at_first) as ftp:
            for directory in ("replicas", "sweep"):
                ftp.mkd(directory)
        with steps.step("replicas: the second waits while the first uploads, and resumes after its kill -9"):
            taken_over(first, at_first, at_second)
        # With new ports, since another process may have taken the old ones.
        first, at_first = serve("first-again", settings)
        first.start()
        for label, targets in (("one gateway", [at_first, at_first]), ("two", [at_first, at_second])):
            with steps.step(f"replicas: two parallel STORs of one name without permission to overwrite, {label}"):
                only_one(store, targets, f"name of {label}")
        for replica in (first, second):
            with steps.step(f"replicas: what {replica.log.parent.name} has probed of the store"):
                probed(replica, store)
        with steps.step("replicas: two parallel STORs of one name publish one of the two files"):
            last_one(store, at_first, at_second)
        with steps.step("replicas: s3ftpd sweep lists and removes; it leaves running and foreign uploads alone"):
            swept(second, at_first, at_second)
    finally:
        for gateway in (first, second):
            gateway.kill()
            if steps.failed > failed and gateway.log.exists():
                print(f"---- the end of the log of replica {gateway.log.parent.name}:\n{tail(gateway.log.read_bytes(), 4000)}")


def taken_over(first, at_first, at_second):
    key, whole = "replicas/taken over.bin", content(40 * MIB, 21)
    ftp, data = begun(at_first, key, whole[: 3 * PART + MIB])
    first_part(at_first, key)
    reply = refused(lambda: size_of(at_second, key))
    seconds = re.fullmatch(r"450 .* another server .*\b(\d+) s, request \w+", reply)
    assert seconds and 1 <= int(seconds[1]) <= DEAD_AFTER, reply
    # The first refreshes its record, so the second waits as long as the first lives.
    alive = time.monotonic() + DEAD_AFTER + 1
    while time.monotonic() < alive:
        assert refused(lambda: size_of(at_second, key)).startswith("450 ")
        with connect(at_second) as other:
            assert refused(lambda: other.transfercmd(f"STOR {key}", rest=5)).startswith("450 ")
        time.sleep(1)
    first.kill()
    killed = time.monotonic()
    data.close()
    ftp.close()
    size = None
    while size is None:
        assert time.monotonic() < killed + DEAD_AFTER + 60, "the second could never resume"
        try:
            size = size_of(at_second, key)
        except ftplib.error_temp as error:
            assert str(error).startswith("450 "), error
            time.sleep(0.2)
    print(f"     (after {time.monotonic() - killed:.1f} s; SIZE reports {size} of {3 * PART + MIB} bytes)")
    assert PART - 1 <= size <= 3 * PART + MIB, size
    path = at_second.file("taken over.bin", whole)
    login = f"{at_second.user}:{at_second.password}"
    at_second.run(["curl", "-gsS", "-u", login, "-C", "-", "-T", path, at_second.url(key)])
    at_second.stored(key, whole)


def at_once(targets, path, files):
    """Uploads in parallel: each sends all its bytes before the first one ends. Returns the replies."""
    sessions = [connect(t) for t in targets]
    connections = []
    for ftp, data in zip(sessions, files, strict=True):
        connection = ftp.transfercmd(f"STOR {path}")
        connection.sendall(data)
        connections.append(connection)
    for connection in connections:
        connection.close()
    replies = [None] * len(sessions)

    def answer(number):
        try:
            replies[number] = sessions[number].voidresp()
        except (ftplib.Error, EOFError, OSError) as error:
            replies[number] = str(error)

    threads = [threading.Thread(target=answer, args=[number]) for number in range(len(sessions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ftp in sessions:
        ftp.close()
    return replies


def only_one(store, targets, name):
    """Asserts one 226, and that its bytes are stored.

    If the store honours no conditions, the gateway can only send a HEAD before and after the write.
    Both uploads may pass the first HEAD before either writes, so only a whole file is certain.
    """
    clear(store)
    for size in (1000, PART + 1000):
        files = [content(size, 31), content(size, 32)]
        path = f"once/{name} {size}"
        replies = at_once(targets, path, files)
        print(f"     ({replies})")
        won = [number for number, reply in enumerate(replies) if reply.startswith("226")]
        stored = store.get(path)
        assert stored in files, f"{path} is neither of the two files"
        if CONDITIONAL_WRITES[store.name]:
            assert len(won) == 1, replies
        assert files.index(stored) in won, f"what is there is not what was acknowledged: {replies}"
        for number, reply in enumerate(replies):
            assert number in won or reply[:3] in ("450", "550"), reply
        # A later upload is refused on each store.
        assert refused(lambda: put(targets[0], path, b"again")).startswith("550 ")
        assert store.get(path) == stored
    no_state(store)


def probed(replica, store):
    """Asserts that the gateway's probes give the known capabilities of the store."""
    log = replica.log.read_text()
    found = re.findall(r"probed.*capability=\"?(\w+)\"?.*answer=(\w+)", log)
    answers = dict(found)
    expected = {
        "conditional_writes": CONDITIONAL_WRITES[store.name],
        "conditional_deletes": store.name == "versitygw",
        "files_hide_directories": store.name == "minio",
        "checksums": True,
        "full_object": True,
    }
    assert answers == {name: str(answer).lower() for name, answer in expected.items()}, f"{found} of {store.name}"


def last_one(store, *targets):
    clear(store)
    for size in (1000, PART + 1000):
        files = [content(size, 41), content(size, 42)]
        path = f"replicas/both {size}"
        replies = at_once(targets, path, files)
        stored = store.get(path)
        assert stored in files, f"{path} is neither of the two files"
        assert replies[files.index(stored)].startswith("226"), replies
        assert all(reply[:3] in ("226", "450", "451") for reply in replies), replies
        # The record of the upload that lost may be left. SIZE removes it.
        assert size_of(targets[0], path) == len(stored)
    no_state(store)


def swept(gateway, at_first, at_second):
    store = at_second.store
    binary, _, option, config = gateway.argv

    def sweep(*options):
        done = subprocess.run(
            [binary, "sweep", option, config, *options], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    large, small, running, foreign = (f"sweep/{name}.bin" for name in ("large", "small", "running", "foreign"))
    whole = content(2 * PART + MIB, 51)
    clear(store)
    broken(at_second, large, whole)
    broken(at_second, small, whole[:1000])
    ftp, data = begun(at_first, running, whole)
    until(lambda: len(store.state(".s3ftpd/uploads/")) == 3, 60, "three records")
    upload = store.begin_upload(foreign)
    store.put_part(foreign, upload, 1, b"theirs")
    before = store.state()

    def lines(text, did):
        place = f"{store.bucket}/"
        return {
            name: re.search(rf"^{re.escape(f'{did}: upload {place}sweep/{name}.bin of {at_second.user}')}, idle", text, re.M)
            for name in ("large", "small", "running")
        }

    output = sweep("--older-than", "0s", "--dry-run")
    found = lines(output, "would be removed")
    assert found["large"] and found["small"] and not found["running"], output
    assert lines(output, "stays")["running"], output
    # MinIO lists the uploads of a whole bucket or of one key, not those below a prefix.
    assert f"stays: unrecorded upload {store.bucket}/{foreign}" in output, output
    assert store.state() == before and store.uploads_of(large), "a dry run removes nothing"
    assert "removed: " not in sweep("--older-than", "1h"), "nothing is as old as that"

    output = sweep("--older-than", "0s")
    found = lines(output, "removed")
    assert found["large"] and found["small"] and lines(output, "stays")["running"], output
    assert len(store.state()) == 1, store.state()
    assert not store.uploads_of(large), "the upload of large is still open"
    assert store.parts(foreign, upload) == {1: 6}, "the foreign upload has gone"
    for key in (large, small):
        with connect(at_second) as other:
            assert refused(lambda key=key: other.size(key)).startswith("550 ")
    data.close()
    reply = ftp.voidresp()
    assert reply.startswith("226"), reply
    ftp.close()
    at_first.stored(running, whole)
    store.abort_upload(foreign, upload)
    no_state(store)


def clear(store):
    """Removes what a failed step has left, so that the next one can pass."""
    for key in store.keys(".s3ftpd/"):
        store.delete(key)


def no_state(store):
    """Waits until records and tails are removed, which the gateway does after its reply."""
    end = time.monotonic() + 60
    while left := store.state():
        assert time.monotonic() < end, f"still there: {[(key, store.get(key)) for key in left]}"
        time.sleep(0.1)
