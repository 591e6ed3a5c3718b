"""lftp: trees of odd names up and down, and the commands of its shell."""

import os

from harness import MIB, ODD_NAMES, PART, content, make_tree, same, same_tree

SETTINGS = """
set cmd:fail-exit yes
set net:max-retries 1
set net:timeout 60
set ftp:ssl-allow no
set ftp:charset UTF-8
set file:charset UTF-8
set xfer:log no
set xfer:clobber yes
"""


def keeps_times(t, steps, user):
    """lftp asks FEAT before it logs in, and sets times by MFMT or SITE UTIME."""
    tree = t.fresh("timed")
    make_tree(tree, ["a", "b c"])
    for path in tree.rglob("*"):
        os.utime(path, (1577934245, 1577934245))
    login = f"open -u {user},{t.password} ftp://{t.host}:{t.port}\n"
    for use_mfmt in ("yes", "no"):
        with steps.step(f"lftp: a second mirror -R sends nothing if the mount stores times, MFMT: {use_mfmt}"):
            script = f"{SETTINGS}\nset ftp:use-feat {use_mfmt}\n{login}\nmirror -R -v {tree} /{use_mfmt}\n"
            t.run(["lftp", "--norc"], text=script)
            output = t.run(["lftp", "--norc"], text=script).decode()
            assert "Transferring" not in output, output
            listed = t.run(["lftp", "--norc"], text=f"{SETTINGS}\n{login}\nquote MDTM /{use_mfmt}/a\n").decode()
            assert "20200102030405" in listed, listed


def drive(t, steps):
    def lftp(script, **kinds):
        login = f"open -u {t.user},{t.password} ftp://{t.host}:{t.port}\n"
        return t.run(["lftp", "--norc"], text=f"{SETTINGS}\n{login}\n{script}\n", **kinds).decode()

    tree = t.fresh("tree")
    files, directories = make_tree(tree, ODD_NAMES)

    with steps.step(f"lftp: mirror -R of {len(files)} files"):
        lftp(f"mirror -R --parallel=3 {tree} /lftp")
        for path, data in files.items():
            t.stored(f"lftp/{path}", data)
    with steps.step("lftp: a second mirror -R transfers nothing"):
        output = lftp(f"mirror -R -v {tree} /lftp")
        assert "Transferring" not in output and "Removing" not in output, output
    with steps.step("lftp: mirror down"):
        down = t.fresh("tree-down")
        lftp(f"mirror --parallel=3 /lftp {down}")
        same_tree(down, files, directories)
    with steps.step("lftp: a second mirror down transfers nothing"):
        output = lftp(f"mirror -v /lftp {down}")
        assert "Transferring" not in output and "Removing" not in output, output
    with steps.step("lftp: mirror -R --delete removes files that are gone locally"):
        small = t.fresh("small")
        make_tree(small, ["a", "b"])
        lftp(f"mirror -R {small} /small")
        (small / "b").unlink()
        lftp(f"mirror -R --delete {small} /small")
        t.absent("small/b")
        assert t.store.exists("small/a")

    large = content(40 * MIB, 7)
    with steps.step("lftp: put, and pget -n 4 of 40 MiB"):
        lftp(f"put {t.file('large.bin', large)} -o /pget.bin")
        t.stored("pget.bin", large)
        down = t.fresh("pget")
        lftp(f"pget -n 4 /pget.bin -o {down}/large.bin")
        same((down / "large.bin").read_bytes(), large, "pget")
    with steps.step("lftp: get -c resumes a download"):
        half = t.file("half.bin", large[: 13 * MIB + 1])
        lftp(f"get -c /pget.bin -o {half}")
        same(half.read_bytes(), large, "get -c")
    with steps.step("lftp: active mode"):
        lftp(f"set ftp:passive-mode off\nput {t.file('active', content(PART + 9))} -o /active.bin")
        t.stored("active.bin", content(PART + 9))
        down = t.fresh("active-down")
        lftp(f"set ftp:passive-mode off\nget /active.bin -o {down}/active.bin")
        same((down / "active.bin").read_bytes(), content(PART + 9), "get")

    with steps.step("lftp: mv of a file, of a directory"):
        lftp("mkdir -p /mv/dir/sub\nmv /active.bin /mv/dir/sub/moved.bin\nmv /mv/dir /mv/other")
        t.stored("mv/other/sub/moved.bin", content(PART + 9))
        t.absent("active.bin")
        t.absent("mv/dir/sub/moved.bin")
    with steps.step("lftp: cat, cls, chmod, mput, mrm"):
        put = t.fresh("mput")
        for number in range(5):
            (put / f"m{number}.txt").write_text(f"file {number}")
        lftp(f"mkdir /mput\ncd /mput\nlcd {put}\nmput m*.txt")
        for number in range(5):
            t.stored(f"mput/m{number}.txt", f"file {number}".encode())
        output = lftp("cat /mput/m3.txt")
        assert output == "file 3", output
        output = lftp("cd /mput\ncls -1").split()
        assert sorted(output) == [f"m{number}.txt" for number in range(5)], output
        lftp("chmod 644 /mput/m1.txt")
        output = lftp("cd /mput\nmrm m[12].txt\ncls -1").split()
        assert sorted(output) == ["m0.txt", "m3.txt", "m4.txt"], output
    with steps.step("lftp: rm -r"):
        lftp("rm -r /lftp /mv /small")
        for path in files:
            t.absent(f"lftp/{path}")
        listing = lftp("cls -1 /").split()
        assert not {"/lftp/", "/mv/", "/small/"} & set(listing), listing
