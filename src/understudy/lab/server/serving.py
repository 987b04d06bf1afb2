"""Serves an application: in the main thread until a signal ends it, or beside a test."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from understudy.lab.server.completing import TRANSPORT
from understudy.records import RunError

if TYPE_CHECKING:
    from starlette.applications import Starlette

_LAST_REPLIES_SECONDS = 3


class _JoinedWrites:
    """A transport that sends a reply's head with the first of its body: one packet, not two."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        is_head = data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n")
        if is_head and not data.startswith(b"HTTP/1.1 100"):  # a client waits for "Continue"
            self._head += data
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def flush(self) -> None:
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else a transport has
        return getattr(self._transport, name)


class _Protocol(HttpToolsProtocol):
    """HTTP whose connections an application can close."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Joins what is written."""
        self._joined = _JoinedWrites(transport)
        super().connection_made(cast("asyncio.Transport", self._joined))

    def on_message_begin(self) -> None:
        """Adds the transport to the scope."""
        super().on_message_begin()
        scope = cast("dict[str, object]", self.scope)
        scope[TRANSPORT] = self.transport

    def on_response_complete(self) -> None:
        """Sends a head that no body followed."""
        self._joined.flush()
        super().on_response_complete()


class _Server(uvicorn.Server):
    """Tells when it is ready; a signal that ends it is not passed on."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts, and says so."""
        await super().startup(sockets)
        self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Lets SIGINT and SIGTERM end the server, and nothing else."""
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals.clear()


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket at an address; port 0 is a free one.

    Raises:
        RunError: The address is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # else Nagle waits
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise RunError(
            f"nothing can be served at {host}:{port}: {error.strerror}; type server.port=0 for a "
            "free port"
        ) from None
    return bound


def base_url(bound: socket.socket) -> str:
    """The API's address at a socket, ``/v1`` included; of all addresses this machine's own."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


def serve(app: Starlette, bound: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serves until SIGINT or SIGTERM; ``on_ready`` is called when requests are taken.

    Replies that are on their way get a few seconds to be sent.
    """
    asyncio.run(_server(app, on_ready).serve(sockets=[bound]))


@contextmanager
def running(app: Starlette, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serves in a thread within the block; gives the API's address."""
    ready = threading.Event()
    server = _server(app, ready.set)
    with bound_socket(host, port) as bound:
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[bound])), daemon=True
        )
        thread.start()
        ready.wait()
        try:
            yield base_url(bound)
        finally:
            server.should_exit = True
            thread.join()


def _server(app: Starlette, on_ready: Callable[[], None]) -> _Server:
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=_LAST_REPLIES_SECONDS,
    )
    return _Server(config, on_ready)
