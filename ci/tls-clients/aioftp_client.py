"""aioftp (0.28): it resumes the control connection's session on each data connection."""

import asyncio
import ssl
import sys
from pathlib import Path

import aioftp


async def main(host, port, user, password, mode, version, ca, directory, remote):
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[f"TLSv{version.replace('.', '_')}"]
    client = aioftp.Client(socket_timeout=60, ssl=context if mode == "implicit" else None)
    await client.connect(host, int(port))
    if mode == "explicit":
        await client.upgrade_to_tls(context)
    await client.login(user, password)
    if mode == "implicit":
        await client.command("PBSZ 0", "200")
        await client.command("PROT P", "200")
    await client.make_directory(remote)
    await client.change_directory(remote)
    for path in sorted(Path(directory, "up").iterdir()):
        await client.upload(path, path.name, write_into=True)
        await client.download(path.name, Path(directory, "down", path.name), write_into=True)
    for name, _ in await client.list():
        print(name)
    await client.quit()


asyncio.run(main(*sys.argv[1:]))
