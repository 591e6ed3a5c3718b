"""Several gateways before one store: who goes on with whose upload, conditional writes, and the sweep by hand."""

import ftplib
import re
import subprocess
import threading
import time

from harness import MIB, PART, content, tail, until
from sessions import begun, broken, connect, first_part, put, refused, size_of

# What ANCHORS' table says of each store.
CONDITIONAL_WRITES = {"versitygw": True, "minio": True, "garage": False}
# A record that was not refreshed for two and a half times that is of a dead process; its time is told in seconds.
REFRESH = 6
DEAD_AFTER = REFRESH * 2.5 + 2


def drive(steps, serve, store):
    """`serve` makes a gateway of a replica's name and settings."""
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
        with steps.step("replicas: another one waits while the first is at it, and goes on when it was killed (-9)"):
            taken_over(first, at_first, at_second)
        # A new one: another process may have its ports by now.
        first, at_first = serve("first-again", settings)
        first.start()
        for label, targets in (("one gateway", [at_first, at_first]), ("two", [at_first, at_second])):
            with steps.step(f"replicas: two STORs of one name at once where nothing is overwritten, {label}"):
                only_one(store, targets, f"name of {label}")
        for replica in (first, second):
            with steps.step(f"replicas: what {replica.log.parent.name} has found out of the store"):
                probed(replica, store)
        with steps.step("replicas: two STORs of one name at once end as one of the two files"):
            last_one(store, at_first, at_second)
        with steps.step("replicas: s3ftpd sweep tells, removes, and leaves alone what runs and what is not ours"):
            swept(second, at_first, at_second)
    finally:
        for gateway in (first, second):
            gateway.kill()
            if steps.failed > failed and gateway.log.exists():
                print(f"---- the log of the replica {gateway.log.parent.name}, its end:\n{tail(gateway.log.read_bytes(), 4000)}")


def taken_over(first, at_first, at_second):
    key, whole = "replicas/taken over.bin", content(40 * MIB, 21)
    ftp, data = begun(at_first, key, whole[: 3 * PART + MIB])
    first_part(at_first, key)
    told = refused(lambda: size_of(at_second, key))
    seconds = re.fullmatch(r"450 .* another server is still at this upload, try again in (\d+) s", told)
    assert seconds and 1 <= int(seconds[1]) <= DEAD_AFTER, told
    # It is refreshed, so it is waited for as long as it lives.
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
    told = None
    while told is None:
        assert time.monotonic() < killed + DEAD_AFTER + 60, "the second was never let go on"
        try:
            told = size_of(at_second, key)
        except ftplib.error_temp as error:
            assert str(error).startswith("450 "), error
            time.sleep(0.2)
    print(f"     (after {time.monotonic() - killed:.1f} s; {told} of {3 * PART + MIB} bytes were kept)")
    assert PART - 1 <= told <= 3 * PART + MIB, told
    path = at_second.file("taken over.bin", whole)
    login = f"{at_second.user}:{at_second.password}"
    at_second.run(["curl", "-gsS", "-u", login, "-C", "-", "-T", path, at_second.url(key)])
    at_second.stored(key, whole)


def at_once(targets, path, files):
    """Uploads that have all their bytes sent before the first of them ends; the replies."""
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
    """One 226, and its bytes are there. Where the store honours no conditions, a HEAD before and one behind the write
    are all there is: of two at the very same time both may have looked before either wrote, and only the whole can be
    promised."""
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
        # One after the other it is refused everywhere.
        assert refused(lambda: put(targets[0], path, b"again")).startswith("550 ")
        assert store.get(path) == stored
    no_state(store)


def probed(replica, store):
    """What the gateway has found out is what was tried by plain requests."""
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
        # A record of the one that lost may be left; whoever asks removes it.
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

    told = sweep("--older-than", "0s", "--dry-run")
    found = lines(told, "would be removed")
    assert found["large"] and found["small"] and not found["running"], told
    assert lines(told, "stays")["running"], told
    # On MinIO too, which lists those of a whole bucket, though none by a directory's prefix.
    assert f"stays: unrecorded upload {store.bucket}/{foreign}" in told, told
    assert store.state() == before and store.uploads_of(large), "a dry run removes nothing"
    assert "removed: " not in sweep("--older-than", "1h"), "nothing is as old as that"

    told = sweep("--older-than", "0s")
    found = lines(told, "removed")
    assert found["large"] and found["small"] and lines(told, "stays")["running"], told
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
    """Removes what a step that has failed has left, so that it fails no other."""
    for key in store.keys(".s3ftpd/"):
        store.delete(key)


def no_state(store):
    """Records and tails go behind the reply; what is left after a while is shown."""
    end = time.monotonic() + 60
    while left := store.state():
        assert time.monotonic() < end, f"still there: {[(key, store.get(key)) for key in left]}"
        time.sleep(0.1)
