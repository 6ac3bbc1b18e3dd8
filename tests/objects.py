"""A real S3 server on loopback, as slow, as faulty and as old as a test asks.

python -m tests.objects [DELAY]         # prints its address, serves until it is killed
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from errata.objects import ObjectPath, locate

BUCKET = "shelf"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIACANARY0000", "AWS_SECRET_ACCESS_KEY": "canary/secret+0000"}

Environ = dict[str, Any]
Start = Callable[..., Any]


@dataclass
class Store:
    """A server, and what may be done to its requests."""

    url: str = ""
    delay: float = 0.0
    """Seconds before each answer."""
    conditional: bool = True
    """Whether it knows If-None-Match; if not, it does as if that were not there."""
    refuse: Callable[[str, str], bool] = lambda method, path: False
    """Which requests are answered by 403, by method and path."""
    seen: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of each request."""
    app: Any = None
    prefix: str = ""
    _one: threading.Lock = field(default_factory=threading.Lock)

    @property
    def root(self) -> ObjectPath:
        """Where this test may write."""
        found = locate(self.prefix)
        assert isinstance(found, ObjectPath)
        return found

    def obey(self) -> None:
        """Forget what was asked of it."""
        self.delay, self.conditional, self.refuse = 0.0, True, lambda method, path: False
        self.seen.clear()

    def writes(self) -> list[str]:
        """The paths that were written, in their order, without the bucket."""
        return [path.removeprefix(f"/{BUCKET}/") for method, path in self.seen if method == "PUT"]

    @property
    def environment(self) -> dict[str, str]:
        """What a client finds it by."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.url, "AWS_DEFAULT_REGION": "us-east-1"}

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.seen.append((method, path))
        time.sleep(self.delay)
        if not self.conditional:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if self.refuse(method, path):
            body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            start("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]
        with self._one:  # of two conditional writes at once, moto would let both win
            return list(self.app(environ, start))


@contextmanager
def served(delay: float = 0.0) -> Iterator[Store]:
    """A server with one empty bucket, ended with the block."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, type: str, message: str, *args: Any) -> None:
            """Not a word."""

    store = Store(app=DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, store, threaded=True, request_handler=Quiet)
    store.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        create(store)
        store.seen.clear()
        store.delay = delay
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def create(store: Store) -> None:
    """Make the bucket."""
    import urllib.request

    ask = urllib.request.Request(f"{store.url}/{BUCKET}", method="PUT", headers={"Authorization": SIGNED})
    urllib.request.urlopen(ask).close()


SIGNED = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


if __name__ == "__main__":
    with served(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0) as made:
        print(made.url, flush=True)
        threading.Event().wait()
