#!/usr/bin/env python3
"""Resident memory of the release binary under loads that hold memory, and after them.

    cargo build --release
    benches/memory.py target/release/s3ftpd --budget 64 [--only downloads,listings,uploads,logins,slow] [--rest 60]

Each load has a new process, with a store of this script that keeps only the gateway's own objects: any
object has 64 MiB, and the directory `d` has 3,200 files with names of 900 bytes. Prints Markdown: MiB
resident at the start, at the peak (VmHWM), and after the load.
"""

import argparse
import asyncio
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
from urllib.parse import parse_qs, unquote, urlsplit

MIB = 1 << 20
OBJECT = 64 * MIB
ZEROS = bytes(256 * 1024)
DATE = "Mon, 30 Nov 2026 00:00:00 GMT"


class Store:
    """The part of S3 that the loads need."""

    def __init__(self):
        self.own = {}
        self.pages = []
        for first in range(0, 3200, 1000):
            last = min(first + 1000, 3200)
            entries = "".join(
                f"<Contents><Key>d/{n:04}{'n' * 900}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                f"<ETag>&quot;{n:032x}&quot;</ETag><Size>{n}</Size><StorageClass>STANDARD</StorageClass></Contents>"
                for n in range(first, last)
            )
            more = last < 3200
            token = f"<NextContinuationToken>{len(self.pages) + 1}</NextContinuationToken>" if more else ""
            self.pages.append(self.listing(entries, last - first, more, token))

    @staticmethod
    def listing(entries, count, more, token):
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>b</Name><Prefix>d/</Prefix><KeyCount>{count}</KeyCount><MaxKeys>1000</MaxKeys>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}</ListBucketResult>"
        ).encode()

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                method, target, _ = lines[0].split(" ")
                fields = (line.split(": ", 1) for line in lines[1:] if ": " in line)
                headers = {name.lower(): value for name, value in fields}
                length = int(headers.get("content-length", 0))
                if headers.get("expect"):
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = b""
                if method == "POST" or "/.s3ftpd/" in target:
                    body = await reader.readexactly(length)
                else:
                    while length > 0:
                        length -= len(await reader.read(min(length, 1 << 18)))
                await self.answer(writer, method, urlsplit(target), headers, body)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, writer, method, target, headers, body):
        query = parse_qs(target.query, keep_blank_values=True)
        key = unquote(target.path).split("/", 2)[2:]
        key = key[0] if key else ""
        extra = ""
        crc = re.search(r"x-amz-checksum-crc32: (\S+)", "\n".join(f"{k}: {v}" for k, v in headers.items()))
        if "x-amz-checksum-crc32" in headers:
            extra = f"x-amz-checksum-crc32: {self.crc(headers)}\r\n"
        if key.startswith(".s3ftpd/"):
            if method == "PUT":
                self.own[key] = body
                return self.send(writer, 200, b"", f'ETag: "p"\r\n{extra}')
            if method == "DELETE":
                self.own.pop(key, None)
                return self.send(writer, 204, b"")
            if method == "GET" and key in self.own:
                body, status, extra = self.own[key], 200, f'ETag: "p"\r\nLast-Modified: {DATE}\r\n'
                if found := re.match(r"bytes=(\d+)-(\d*)", headers.get("range", "")):
                    first, last = int(found[1]), min(int(found[2] or len(body)), len(body) - 1)
                    status, extra = 206, f"{extra}Content-Range: bytes {first}-{last}/{len(body)}\r\n"
                    body = body[first : last + 1]
                return self.send(writer, status, body, extra)
        if method in ("GET", "HEAD") and key and "list-type" not in query:
            if not key.startswith("big"):
                return self.send(writer, 404, b"<Error><Code>NoSuchKey</Code></Error>" if method == "GET" else b"")
            found = re.match(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
            first = int(found[1]) if found else 0
            last = min(int(found[2] or OBJECT), OBJECT - 1) if found else OBJECT - 1
            status = "206 Partial Content" if found else "200 OK"
            size = last - first + 1
            if found:
                extra += f"Content-Range: bytes {first}-{last}/{OBJECT}\r\n"
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\nETag: \"big\"\r\nLast-Modified: {DATE}\r\n"
                f"Date: {DATE}\r\nx-amz-request-id: 1\r\n{extra}\r\n".encode()
            )
            while method == "GET" and size > 0:
                writer.write(ZEROS[: min(size, len(ZEROS))])
                size -= len(ZEROS)
                await writer.drain()
            return await writer.drain()
        if method == "GET":
            prefix = query.get("prefix", [""])[0]
            if prefix == "d/" and "list-type" in query:
                page = int(query.get("continuation-token", ["0"])[0])
                return self.send(writer, 200, self.pages[page])
            if "uploads" in query:
                return self.send(writer, 200, b"<ListMultipartUploadsResult><Bucket>b</Bucket><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>")
            return self.send(writer, 200, self.listing("", 0, False, ""))
        if method == "POST" and "uploads" in query:
            return self.send(writer, 200, f"<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>{key}</Key><UploadId>u</UploadId></InitiateMultipartUploadResult>".encode())
        if method == "POST":
            sum_ = f"<ChecksumCRC32>{self.crc(headers)}</ChecksumCRC32>" if crc else ""
            return self.send(writer, 200, f'<CompleteMultipartUploadResult><Bucket>b</Bucket><Key>{key}</Key><ETag>"m-3"</ETag>{sum_}</CompleteMultipartUploadResult>'.encode())
        if method == "PUT":
            return self.send(writer, 200, b"", f'ETag: "p"\r\n{extra}')
        return self.send(writer, 204, b"")

    @staticmethod
    def crc(headers):
        return headers["x-amz-checksum-crc32"]

    @staticmethod
    def send(writer, status, body, extra=""):
        kind = "Content-Type: application/xml\r\n" if body else ""
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nDate: {DATE}\r\nx-amz-request-id: 1\r\n{kind}{extra}\r\n".encode()
            + body
        )


class Gateway:
    def __init__(self, binary, endpoint, budget, hash_, log):
        self.directory = tempfile.TemporaryDirectory()
        path = os.path.join(self.directory.name, "s3ftpd.toml")
        with open(path, "w") as file:
            file.write(
                f'listen = ["127.0.0.1:0"]\n[passive]\nports = "auto"\n[memory]\nbudget = "{budget}MiB"\n'
                "[limits]\nsessions_per_address = 5000\nsessions_before_login_per_address = 2000\n"
                '[login_failures]\nexempt = ["127.0.0.0/8"]\ndelay = "1ms"\nmax_delay = "1ms"\n'
                f'[stores.main]\nendpoint = "{endpoint}"\naccess_key_id = "k"\nsecret_access_key = "s"\n'
                'checksums = "crc32"\nconditional_writes = true\n[mounts.main]\nstore = "main"\nbucket = "bucket"\n'
                f"[users.u]\npassword = '{hash_}'\nmounts = {{ \"/\" = \"main\" }}\n"
            )
        self.process = subprocess.Popen(
            [binary, "--log", "warn,s3ftpd=info", "--log-format", "json", "serve", "--config", path],
            stderr=open(log, "w+"),
        )
        for _ in range(200):
            time.sleep(0.05)
            found = re.search(r'"address":"127.0.0.1:(\d+)"', open(log).read())
            if found:
                self.port = int(found[1])
                return
        raise SystemExit("the gateway does not start: " + open(log).read())

    def status(self, field):
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(rf"{field}:\s+(\d+)", file.read())[1]) / 1024

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Client:
    """A control connection."""

    async def connect(self, port):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        await self.reply()
        return self

    async def reply(self):
        while True:
            line = (await self.reader.readline()).decode("latin-1")
            if not line:
                return 0
            if line[3:4] == " " and line[:3].isdigit():
                self.text = line
                return int(line[:3])

    async def command(self, line):
        self.writer.write(line.encode() + b"\r\n")
        return await self.reply()

    async def login(self, user="u", password="right"):
        await self.command(f"USER {user}")
        return await self.command(f"PASS {password}")

    async def data(self, buffer=None):
        while (code := await self.command("EPSV")) == 425:
            # The port may belong to a connection that is being opened.
            await asyncio.sleep(0.05)
        assert code == 229, self.text
        port = int(re.search(r"\|\|\|(\d+)\|", self.text)[1])
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.setblocking(False)
        await asyncio.get_running_loop().sock_connect(self.socket, ("127.0.0.1", port))

    def close(self):
        self.writer.transport.abort()
        if hasattr(self, "socket"):
            self.socket.close()


async def clients(gateway, count):
    made = []
    for first in range(0, count, 20):
        batch = [Client().connect(gateway.port) for _ in range(min(20, count - first))]
        batch = await asyncio.gather(*batch)
        for client, code in zip(batch, await asyncio.gather(*(client.login() for client in batch))):
            assert code == 230, client.text
        made += batch
    return made


async def unread(gateway, count, command):
    made = await clients(gateway, count)

    async def ask(client):
        await client.data(4096)
        return await client.command(command)

    codes = await asyncio.gather(*(ask(client) for client in made))
    await asyncio.sleep(5)
    for client in made:
        client.close()
    return " ".join(f"{codes.count(code)} × {code}" for code in sorted(set(codes)))


async def upload(client, number, size, pause):
    await client.data()
    code = await client.command(f"STOR new{number}")
    if code != 150:
        return code
    loop = asyncio.get_running_loop()
    piece = ZEROS if pause == 0 else ZEROS[:20000]
    try:
        while size > 0:
            await loop.sock_sendall(client.socket, piece[: min(size, len(piece))])
            size -= len(piece)
            await asyncio.sleep(pause)
        client.socket.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    return await client.reply()


async def uploads(gateway, count, size, pause):
    made = await clients(gateway, count)
    codes = await asyncio.gather(*(upload(client, n, size, pause) for n, client in enumerate(made)))
    for client in made:
        client.close()
    return " ".join(f"{codes.count(code)} × {code}" for code in sorted(set(codes)))


async def logins(gateway, count):
    codes = []

    async def many(first):
        for number in range(first, count, 20):
            client = await Client().connect(gateway.port)
            user, password = [("u", "right"), ("u", "wrong"), ("unknown", "wrong")][number % 3]
            codes.append(await client.login(user, password))
            client.close()

    await asyncio.gather(*(many(first) for first in range(20)))
    return " ".join(f"{codes.count(code)} × {code}" for code in sorted(set(codes)))


LOADS = {
    "downloads": ("400 unread downloads", lambda g: unread(g, 400, "RETR big")),
    "listings": ("1,000 unread listings", lambda g: unread(g, 1000, "MLSD d")),
    "uploads": ("200 × 20 MiB up", lambda g: uploads(g, 200, 20 * MIB, 0)),
    "logins": ("2,000 logins, right and wrong", lambda g: logins(g, 2000)),
    "slow": ("300 slow uploads, 60 s", lambda g: uploads(g, 300, 60 * 20000, 1)),
}


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--budget", type=int, default=64, help="MiB")
    parser.add_argument("--only", default=",".join(LOADS))
    parser.add_argument("--rest", type=int, default=60, help="seconds after the load")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    made = subprocess.run([arguments.binary, "hash-password"], input="right\n", capture_output=True, text=True)
    argon = made.stdout.strip()
    store = Store()
    server = await asyncio.start_server(store.serve, "127.0.0.1", 0, backlog=4096)
    endpoint = "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
    print(f"| load, budget {arguments.budget} MiB | start | peak | after {arguments.rest} s | CPU, s | replies |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for name in arguments.only.split(","):
        label, load = LOADS[name]
        with tempfile.NamedTemporaryFile() as log:
            gateway = Gateway(arguments.binary, endpoint, arguments.budget, argon if name == "logins" else CHEAP, log.name)
            try:
                first = (await clients(gateway, 1))[0]
                await first.command("NOOP")
                first.close()
                start = gateway.status("VmRSS")
                replies = await load(gateway)
                cpu = gateway.cpu()
                peak = gateway.status("VmHWM")
                await asyncio.sleep(arguments.rest)
                after = gateway.status("VmRSS")
            finally:
                gateway.process.terminate()
                gateway.process.wait(60)
        print(f"| {label} | {start:.0f} | {peak:.0f} | {after:.0f} | {cpu:.1f} | {replies} |", flush=True)


# sha512-crypt of `right` with few rounds, so that logins are fast and the loads start soon.
CHEAP = "$6$rounds=1000$saltsalt$dfMP2LY3oP.RCle.MrovYod7J5ZWd7wa2WJOtw1cdMugHgIZ8H3PUFaxN7fS6Rbcl4YomrlE/fCkobwA8g/as/"
asyncio.run(main())
