"""curl: sizes around a part, passive and active, resume, append, rename, odd names."""

import shutil
from concurrent.futures import ThreadPoolExecutor

from harness import MIB, ODD_NAMES, PART, content, same

SIZES = [0, 1, PART - 1, PART, PART + 1, 40 * MIB]


def drive(t, steps):
    def curl(*options, path="", **kinds):
        return t.run(["curl", "-gsS", "-u", f"{t.user}:{t.password}", *options, t.url(path)], **kinds)

    def upload(name, data, *options):
        curl("-T", t.file("up.bin", data), *options, path=name)

    def download(name, *options):
        target = t.work / "down.bin"
        target.unlink(missing_ok=True)
        curl("-o", target, *options, path=name)
        # curl makes no file for an empty download.
        return target.read_bytes() if target.exists() else b""

    for size in SIZES:
        with steps.step(f"curl: {size} bytes up and down"):
            data = content(size)
            upload(f"curl/{size}.bin", data, "--ftp-create-dirs")
            t.stored(f"curl/{size}.bin", data)
            same(download(f"curl/{size}.bin"), data, "download")

    for mode, options in {
        "EPSV": [],
        "PASV": ["--disable-epsv"],
        "EPRT": ["-P", "-"],
        "PORT": ["-P", "-", "--disable-eprt"],
    }.items():
        with steps.step(f"curl: {mode}"):
            data = content(PART + 77, hash_of(mode))
            upload(f"curl/{mode}.bin", data, *options)
            t.stored(f"curl/{mode}.bin", data)
            same(download(f"curl/{mode}.bin", *options), data, "download")
            listing = curl("--list-only", *options, path="curl/").decode().split()
            assert f"{mode}.bin" in listing, f"{mode}.bin is not in {listing}"

    with steps.step("curl: --ftp-create-dirs"):
        upload("curl/deep/a/b/first.txt", b"deep", "--ftp-create-dirs")
        t.stored("curl/deep/a/b/first.txt", b"deep")
    for method in ("multicwd", "nocwd", "singlecwd"):
        with steps.step(f"curl: --ftp-method {method}"):
            upload(f"curl/deep/a/b/{method}.txt", b"deep", "--ftp-method", method)
            t.stored(f"curl/deep/a/b/{method}.txt", b"deep")
            same(download(f"curl/deep/a/b/{method}.txt", "--ftp-method", method), b"deep", "download")

    with steps.step("curl: an upload replaces the old object"):
        upload("curl/again.bin", content(2 * MIB, 1))
        upload("curl/again.bin", content(PART + 5, 2))
        t.stored("curl/again.bin", content(PART + 5, 2))
        upload("curl/again.bin", b"small")
        t.stored("curl/again.bin", b"small")

    with steps.step("curl: -C - resumes a download"):
        data = content(40 * MIB)
        target = t.file("resumed.bin", data[: 17 * MIB + 3])
        curl("-C", "-", "-o", target, path=f"curl/{40 * MIB}.bin")
        same(target.read_bytes(), data, "download")

    with steps.step("curl: -r asks for a range"):
        same(curl("-r", "1000-1999", path=f"curl/{PART}.bin"), content(PART)[1000:2000], "range")

    for name, start, end in (("small", 1000, 3000), ("large", PART + 100, 2 * PART + 1000)):
        with steps.step(f"curl: -a appends, {name}"):
            data = content(end)
            upload(f"curl/append-{name}.bin", data[:start])
            upload(f"curl/append-{name}.bin", data[start:], "-a")
            t.stored(f"curl/append-{name}.bin", data)
    with steps.step("curl: -a to what is not there yet"):
        upload("curl/append-new.bin", b"first", "-a")
        t.stored("curl/append-new.bin", b"first")

    with steps.step("curl: -C - resumes an upload"):
        data = content(2 * PART)
        upload("curl/half.bin", data[: PART + 10])
        upload("curl/half.bin", data, "-C", "-")
        t.stored("curl/half.bin", data)

    with steps.step("curl: -I prints size and time"):
        head = curl("-I", path=f"curl/{PART}.bin").decode()
        assert f"Content-Length: {PART}" in head and "Last-Modified: " in head, head

    with steps.step("curl: -Q renames and deletes"):
        upload("curl/old name.bin", content(PART + 3))
        curl("-Q", "RNFR curl/old name.bin", "-Q", "RNTO curl/new name.bin", "-l")
        t.absent("curl/old name.bin")
        t.stored("curl/new name.bin", content(PART + 3))
        curl("-Q", "DELE curl/new name.bin", "-l")
        t.absent("curl/new name.bin")

    def odd_names(numbers, option):
        """Many files over one connection. Four of these run in parallel, since curl may sleep for a
        second if the 229 arrives immediately."""
        lines = ["ftp-create-dirs"]
        for number in numbers:
            url = t.url("curl/odd names/" + ODD_NAMES[number])
            lines += [f'{option} = "odd/{number}"', f'url = "{url}"']
        t.run(["curl", "-gsS", "-u", f"{t.user}:{t.password}", "-K", "-"], text="\n".join(lines))

    quarters = [range(start, len(ODD_NAMES), 4) for start in range(4)]
    with steps.step(f"curl: {len(ODD_NAMES)} odd names up"), ThreadPoolExecutor(4) as pool:
        for number, name in enumerate(ODD_NAMES):
            t.file(f"odd/{number}", name.encode())
        list(pool.map(lambda quarter: odd_names(quarter, "upload-file"), quarters))
        for name in ODD_NAMES:
            t.stored(f"curl/odd names/{name}", name.encode())
    with steps.step("curl: the odd names listed and down"), ThreadPoolExecutor(4) as pool:
        shutil.rmtree(t.work / "odd")
        (t.work / "odd").mkdir()
        list(pool.map(lambda quarter: odd_names(quarter, "output"), quarters))
        for number, name in enumerate(ODD_NAMES):
            same((t.work / f"odd/{number}").read_bytes(), name.encode(), name)
        listing = curl("--list-only", path="curl/odd names/").decode().splitlines()
        hidden = {name for name in ODD_NAMES if name.startswith(".")}
        assert set(ODD_NAMES) - hidden <= set(listing), f"not listed: {set(ODD_NAMES) - set(listing)}"

    with steps.step("curl: what is not there"):
        curl(path="curl/no such file", status=78)
        curl("-l", path="no such directory/", status=9)
    with steps.step("curl: a wrong password"):
        t.run(["curl", "-sS", "-u", f"{t.user}:wrong", t.url()], status=67)


def hash_of(text):
    """A number for a text, the same in each run."""
    return sum(text.encode())
