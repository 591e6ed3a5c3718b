"""Python's ftplib. As it is it resumes no TLS session; with one more argument, "reuse", each data connection does."""

import ftplib
import ssl
import sys
from pathlib import Path


class Client(ftplib.FTP_TLS):
    """FTP_TLS that can begin with TLS, and resume the control connection's session."""

    implicit = reuse = False

    @property
    def sock(self):
        return self._sock

    @sock.setter
    def sock(self, value):
        """`connect` sets it before it reads the greeting."""
        if self.implicit and value is not None and not isinstance(value, ssl.SSLSocket):
            value = self.context.wrap_socket(value, server_hostname=self.host)
        self._sock = value

    def ntransfercmd(self, cmd, rest=None):
        if not self.reuse:
            return super().ntransfercmd(cmd, rest)
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        return self.context.wrap_socket(connection, server_hostname=self.host, session=self.sock.session), size


def main(host, port, user, password, mode, version, ca, directory, remote, reuse=""):
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[f"TLSv{version.replace('.', '_')}"]
    ftp = Client(context=context, timeout=60, encoding="utf-8")
    ftp.reuse, ftp.implicit = reuse == "reuse", mode == "implicit"
    ftp.connect(host, int(port))
    if ftp.implicit:
        ftplib.FTP.login(ftp, user, password)
    else:
        ftp.login(user, password)
    ftp.prot_p()
    ftp.mkd(remote)
    ftp.cwd(remote)
    for path in sorted(Path(directory, "up").iterdir()):
        with open(path, "rb") as file:
            try:
                ftp.storbinary(f"STOR {path.name}", file)
            except OSError:  # a refused data connection is reset; the reply says why
                ftp.voidresp()
                raise
        with open(Path(directory, "down", path.name), "wb") as file:
            ftp.retrbinary(f"RETR {path.name}", file.write)
    print("\n".join(ftp.nlst()))
    ftp.quit()


main(*sys.argv[1:])
