"""Clients that systems bring along: ncftp, tnftp, inetutils ftp, wget, Perl's Net::FTP."""

import re

from harness import MIB, PART, PLAIN_NAMES, content, make_tree, same, same_tree


def drive(t, steps):
    ncftp(t, steps)
    shell_client(t, steps, "tnftp", ["tnftp", "-n", "-i", "-v"], ["-A"])
    shell_client(t, steps, "inetutils ftp", ["inetutils-ftp", "-n", "-i", "-v", "-p"], None)
    wget(t, steps)
    perl(t, steps)


def ncftp(t, steps):
    login = ["-u", t.user, "-p", t.password, "-P", str(t.port)]
    quiet = ["-V", "-t", "20", "-r", "1"]
    tree = t.fresh("ncftp")
    files, _ = make_tree(tree, PLAIN_NAMES)

    with steps.step(f"ncftp: ncftpput -R of {len(files)} files"):
        t.run(["ncftpput", *quiet, *login, "-R", "-m", t.host, "/nc", tree])
        for path, data in files.items():
            t.stored(f"nc/ncftp/{path}", data)
    with steps.step("ncftp: ncftpget -R"):
        down = t.fresh("ncftp-down")
        t.run(["ncftpget", *quiet, *login, "-R", t.host, down, "/nc/ncftp"])
        same_tree(down / "ncftp", files)
    with steps.step("ncftp: ncftpls"):
        output = t.run(["ncftpls", *login, "-1", t.url("nc/ncftp/")]).decode().splitlines()
        assert set(PLAIN_NAMES) <= {line.rstrip("/") for line in output}, output
        output = t.run(["ncftpls", *login, "-l", t.url("nc/ncftp/")]).decode()
        assert "two words.txt" in output, output
    with steps.step("ncftp: active mode (-E)"):
        t.file("ncftp-active.bin", content(PART + 1))
        t.run(["ncftpput", *quiet, *login, "-E", t.host, "/nc", t.work / "ncftp-active.bin"])
        t.stored("nc/ncftp-active.bin", content(PART + 1))
        down = t.fresh("ncftp-active-down")
        t.run(["ncftpget", *quiet, *login, "-E", t.host, down, "/nc/ncftp-active.bin"])
        same((down / "ncftp-active.bin").read_bytes(), content(PART + 1), "ncftpget")
    with steps.step("ncftp: append (-A)"):
        t.file("log.txt", b"one\n")
        t.run(["ncftpput", *quiet, *login, t.host, "/nc", t.work / "log.txt"])
        t.file("log.txt", b"two\n")
        t.run(["ncftpput", *quiet, *login, "-A", t.host, "/nc", t.work / "log.txt"])
        t.stored("nc/log.txt", b"one\ntwo\n")
    with steps.step("ncftp: upload by a temporary name (-T)"):
        t.file("final.txt", b"whole")
        t.run(["ncftpput", *quiet, *login, "-T", "tmp.", t.host, "/nc", t.work / "final.txt"])
        t.stored("nc/final.txt", b"whole")
        t.absent("nc/tmp.final.txt")


def shell_client(t, steps, name, argv, active):
    """The BSD family: commands on standard input; the replies that -v prints show the success."""
    top = name.split()[0]
    local = t.fresh(f"{top}-local")
    large = content(PART + 4321, len(top))
    (local / "large.bin").write_bytes(large)
    (local / "tail.bin").write_bytes(b"tail")
    (local / "lines.txt").write_bytes(b"one\ntwo\n")
    for number in range(4):
        (local / f"m{number}.txt").write_text(f"{top} {number}\n")

    def ftp(script, options=()):
        commands = f"user {t.user} {t.password}\nbinary\nlcd {local}\n{script}\nquit\n"
        output = t.run([*argv, *options, t.host, t.port], text=commands, status=None).decode(errors="replace")
        bad = [line for line in output.splitlines() if re.match(r"[45]\d\d[ -]", line)]
        assert not bad, f"{bad} in: {output}"
        assert "230 " in output, output
        return output

    with steps.step(f"{name}: mkdir, put, get"):
        ftp(f"mkdir {top}\ncd {top}\nput large.bin\nget large.bin back.bin")
        t.stored(f"{top}/large.bin", large)
        same((local / "back.bin").read_bytes(), large, "get")
    with steps.step(f"{name}: mput, mget"):
        ftp(f"cd {top}\nmput m0.txt m1.txt m2.txt m3.txt")
        for number in range(4):
            t.stored(f"{top}/m{number}.txt", f"{top} {number}\n".encode())
            (local / f"m{number}.txt").unlink()
        ftp(f"cd {top}\nmget m*.txt")
        for number in range(4):
            got = local / f"m{number}.txt"
            same(got.read_bytes() if got.exists() else None, f"{top} {number}\n".encode(), f"mget: m{number}.txt")
    with steps.step(f"{name}: append"):
        ftp(f"cd {top}\nappend tail.bin large.bin")
        t.stored(f"{top}/large.bin", large + b"tail")
    with steps.step(f"{name}: ls, nlist, size, modtime"):
        output = ftp(f"cd {top}\nsize large.bin\nmodtime large.bin\nnlist\ncd /\nls {top}")
        assert output.count("m1.txt") >= 2 and str(len(large) + 4) in output, output
    with steps.step(f"{name}: restarted get"):
        (local / "part.bin").write_bytes(large[: 3 * MIB])
        command = "reget large.bin part.bin" if top == "tnftp" else f"restart {3 * MIB}\nget large.bin part.bin"
        ftp(f"cd {top}\n{command}")
        same((local / "part.bin").read_bytes(), large + b"tail", "get")
    if active is not None:
        with steps.step(f"{name}: active mode"):
            ftp(f"cd {top}\nput tail.bin active.bin\nget active.bin active.back\nls", active)
            t.stored(f"{top}/active.bin", b"tail")
            same((local / "active.back").read_bytes(), b"tail", "get")
    else:
        with steps.step(f"{name}: active mode"):
            # -p selects passive mode; the command `passive` turns it off.
            ftp(f"passive\ncd {top}\nput tail.bin active.bin\nget active.bin active.back\nls")
            t.stored(f"{top}/active.bin", b"tail")
            same((local / "active.back").read_bytes(), b"tail", "get")
    with steps.step(f"{name}: an upload in ASCII"):
        ftp(f"cd {top}\nascii\nput lines.txt ascii.txt")
        stored = t.store.get(f"{top}/ascii.txt")
        assert stored is not None and stored.replace(b"\r\n", b"\n") == b"one\ntwo\n", stored
    with steps.step(f"{name}: rename, delete, rmdir"):
        ftp(f"cd {top}\nmkdir sub\nrename m0.txt sub/moved.txt")
        t.stored(f"{top}/sub/moved.txt", f"{top} 0\n".encode())
        t.absent(f"{top}/m0.txt")
        ftp(f"cd {top}\ndelete sub/moved.txt\nrmdir sub\nmdelete m1.txt m2.txt m3.txt")
        t.absent(f"{top}/sub/moved.txt")
        t.absent(f"{top}/m2.txt")


def wget(t, steps):
    login = ["--no-verbose", "--tries=2", "--timeout=60", f"--ftp-user={t.user}", f"--ftp-password={t.password}"]
    files = {f"wget/{name}": content(100 + len(name)) for name in PLAIN_NAMES}
    files |= {"wget/sub dir/deeper/x.bin": content(PART + 2), "wget/sub dir/zero": b""}
    source = t.fresh("wget-source")
    for path, data in files.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(data)
    with steps.step("wget: -r"):
        t.run(["ncftpput", "-V", "-u", t.user, "-p", t.password, "-P", t.port, "-R", t.host, "/", source / "wget"])
        down = t.fresh("wget-down")
        t.run(["wget", *login, "-r", "-l", "0", "-nH", "--restrict-file-names=nocontrol", "-P", down, t.url("wget/")])
        same_tree(down, files)
    for mode, options in {"passive": [], "active": ["--no-passive-ftp"]}.items():
        with steps.step(f"wget: -c resumes a download, {mode}"):
            data = files["wget/sub dir/deeper/x.bin"]
            down = t.fresh("wget-c")
            (down / "x.bin").write_bytes(data[: 5 * MIB])
            t.run(["wget", *login, *options, "-c", "-P", down, t.url("wget/sub dir/deeper/x.bin")])
            same((down / "x.bin").read_bytes(), data, "wget -c")


PERL = r"""
use strict; use warnings; use Net::FTP;
my ($host, $port, $user, $password, $file, $passive) = @ARGV;
my $ftp = Net::FTP->new($host, Port => $port, Passive => $passive, Timeout => 20) or die "no connection: $@";
sub good { $_[0] or die "$_[1]: " . $ftp->code . " " . $ftp->message }
good($ftp->login($user, $password), "login");
good($ftp->binary, "binary");
good($ftp->mkdir("/perl/a/b", 1), "mkdir -p");
good($ftp->cwd("/perl"), "cwd");
good($ftp->put($file, "file.bin"), "put");
good($ftp->get("file.bin", "$file.back"), "get");
my $unique = $ftp->put_unique($file, "file.bin");
good($unique, "put_unique");
die "put_unique overwrote" if $unique eq "file.bin";
good($ftp->append($file, "file.bin"), "append");
die "size " . $ftp->size("file.bin") unless $ftp->size("file.bin") == 2 * -s $file;
good($ftp->mdtm("file.bin"), "mdtm");
die "ls" unless grep { $_ eq "file.bin" } $ftp->ls;
good($ftp->dir, "dir");
good($ftp->rename("file.bin", "a/b/moved.bin"), "rename");
good($ftp->delete($unique), "delete");
good($ftp->delete("a/b/moved.bin"), "delete");
good($ftp->rmdir("/perl", 1), "rmdir -r");
$ftp->quit;
"""


def perl(t, steps):
    t.file("net-ftp.pl", PERL.encode())
    for passive, name in ((1, "passive"), (0, "active")):
        with steps.step(f"Perl Net::FTP: {name}"):
            source = t.file("perl.bin", content(PART + 11, passive))
            t.run(["perl", "net-ftp.pl", t.host, t.port, t.user, t.password, source, passive])
            same((t.work / "perl.bin.back").read_bytes(), source.read_bytes(), "get")
            t.absent("perl/a/b/moved.bin")
