"""A small S3 client: Signature Version 4 over http.client, from the standard library only.

The client tests use it to check independently what the gateway stored: neither the gateway nor its
SDK reads the object. As a command it makes the bucket of a new store:

    s3.py make-bucket ENV-FILE      waits until the store answers, then creates the bucket
"""

import hashlib
import hmac
import http.client
import sys
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree
from datetime import datetime, timezone
from pathlib import Path

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class S3Error(Exception):
    """An answer that is not a success."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body[:300]!r}")
        self.status = status


def read_env(path):
    """The NAME=value lines that stores.sh writes."""
    lines = Path(path).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


class S3:
    """One bucket of one store."""

    def __init__(self, endpoint, region, access_key, secret_key, bucket):
        self.host = urllib.parse.urlsplit(endpoint).netloc
        self.region = region
        self.access_key = access_key
        self.secret_key = secret_key
        self.bucket = bucket

    @classmethod
    def from_env(cls, env):
        return cls(env["ENDPOINT"], env["REGION"], env["ACCESS_KEY"], env["SECRET_KEY"], env["BUCKET"])

    def get(self, key):
        """The object's bytes; None if there is none."""
        return self._or_none("GET", key)

    def exists(self, key):
        return self._or_none("HEAD", key) is not None

    def put(self, key, body):
        self._request("PUT", key, body=body)

    def delete(self, key):
        self._request("DELETE", key)

    def keys(self, prefix=""):
        """All keys below a prefix, markers included."""
        found, token = [], None
        while True:
            query = {"encoding-type": "url", "list-type": "2", "prefix": prefix}
            if token:
                query["continuation-token"] = token
            root = parse_xml(self._request("GET", "", query))
            found += decoded(root, "Contents/Key")
            token = root.findtext("NextContinuationToken")
            if not token:
                return found

    def state(self, prefix=".s3ftpd/"):
        """Keys of the gateway's state below a prefix, except those of ended records: a store without
        conditional deletes has them as empty objects until the sweep removes them."""
        return [key for key in self.keys(prefix) if "/uploads/" not in key or self.get(key)]

    def open_uploads(self, prefix=""):
        """Keys of the multipart uploads that are neither complete nor aborted."""
        query = {"encoding-type": "url", "prefix": prefix, "uploads": ""}
        root = parse_xml(self._request("GET", "", query))
        return decoded(root, "Upload/Key")

    def uploads_of(self, key):
        """Ids of the open multipart uploads of exactly this key, which each store lists."""
        query = {"encoding-type": "url", "prefix": key, "uploads": ""}
        root = parse_xml(self._request("GET", "", query))
        found = zip(decoded(root, "Upload/Key"), [node.text for node in root.iterfind("Upload/UploadId")], strict=True)
        return [upload for of, upload in found if of == key]

    def begin_upload(self, key):
        """Opens a multipart upload, and returns its id."""
        return parse_xml(self._request("POST", key, {"uploads": ""})).findtext("UploadId")

    def put_part(self, key, upload, number, body):
        self._request("PUT", key, {"partNumber": str(number), "uploadId": upload}, body)

    def parts(self, key, upload):
        """The first 1,000 parts of an open upload: number → bytes."""
        root = parse_xml(self._request("GET", key, {"uploadId": upload}))
        return {int(part.findtext("PartNumber")): int(part.findtext("Size")) for part in root.iterfind("Part")}

    def abort_upload(self, key, upload):
        self._request("DELETE", key, {"uploadId": upload})

    def make_bucket(self, deadline=60.0):
        """Creates the bucket. Retries until the store answers, for at most `deadline` seconds."""
        end = time.monotonic() + deadline
        while True:
            try:
                self._request("PUT", "")
                return
            except (OSError, http.client.HTTPException, S3Error) as error:
                if isinstance(error, S3Error) and error.status == 409:
                    return
                if isinstance(error, S3Error) and error.status < 500 or time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def _or_none(self, method, key):
        try:
            return self._request(method, key)
        except S3Error as error:
            if error.status == 404:
                return None
            raise

    def _request(self, method, key, query=None, body=b""):
        path = "/" + self.bucket + ("/" + urllib.parse.quote(key, safe="/-_.~") if key else "")
        pairs = sorted((quote(name), quote(value)) for name, value in (query or {}).items())
        query_text = "&".join(f"{name}={value}" for name, value in pairs)
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            target = path + ("?" + query_text if query_text else "")
            connection.request(method, target, body=body, headers=self._sign(method, path, query_text, body))
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= 300:
            raise S3Error(response.status, answer)
        return answer

    def _sign(self, method, path, query_text, body):
        now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        day = now[:8]
        body_hash = hashlib.sha256(body).hexdigest() if body else EMPTY_SHA256
        headers = {"host": self.host, "x-amz-content-sha256": body_hash, "x-amz-date": now}
        names = ";".join(sorted(headers))
        canonical_headers = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        canonical = "\n".join([method, path, query_text, canonical_headers, names, body_hash])
        scope = f"{day}/{self.region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = ("AWS4" + self.secret_key).encode()
        for step in (day, self.region, "s3", "aws4_request"):
            key = hmac.new(key, step.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return headers


def quote(text):
    return urllib.parse.quote(text, safe="-_.~")


def decoded(root, path):
    """The texts below a path, decoded if the answer says that the store encoded them."""
    texts = [node.text or "" for node in root.iterfind(path)]
    return [urllib.parse.unquote_plus(text) for text in texts] if root.findtext("EncodingType") == "url" else texts


def parse_xml(body):
    """The document without its namespace."""
    root = ElementTree.fromstring(body)
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
    return root


def main():
    if len(sys.argv) != 3 or sys.argv[1] != "make-bucket":
        sys.exit("usage: s3.py make-bucket ENV-FILE")
    S3.from_env(read_env(sys.argv[2])).make_bucket()


if __name__ == "__main__":
    main()
