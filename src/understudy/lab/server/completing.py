"""``POST /v1/chat/completions`` and ``/v1/completions``: the ASGI side of a call."""

from __future__ import annotations

import asyncio
import hmac
import json
from dataclasses import dataclass
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from understudy.lab.server.bills import Bill
from understudy.lab.server.call import read_object
from understudy.lab.server.desk import Desk, Prepared
from understudy.lab.server.errors import ApiError, Headers, wrong_key
from understudy.lab.server.faults import HEADER, Fault
from understudy.lab.server.replies import pieces_of, reply_of

TRANSPORT = "lab.transport"
"""Where a connection's transport is in the scope, so that a fault can close it."""

_FAULT_HEADER = HEADER.encode()
_JSON = (b"content-type", b"application/json")
_EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")


@dataclass(frozen=True, slots=True)
class _Client:
    """Who asked, at the other end of a connection."""

    scope: Scope
    send: Send

    @property
    def transport(self) -> asyncio.Transport:
        transport: asyncio.Transport = self.scope[TRANSPORT]
        return transport

    @property
    def has_left(self) -> bool:
        """Whether the connection is closed, as far as that is known here by now."""
        return self.transport.is_closing()


class Completions:
    """An ASGI application for one of the two paths."""

    def __init__(self, desk: Desk, key: str | None, *, is_chat: bool) -> None:
        """``key`` is what clients must send; null wants none."""
        self._desk = desk
        self._key = key
        self._is_chat = is_chat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one call, or says why not."""
        bill = Bill(self._desk.bills.next_number())
        body = await _body(receive)
        if body is None:
            self._desk.lose(bill, "left")
            return
        try:
            check_key(scope, self._key)
            values = read_object(body)
            deployment = scope.get("path_params", {}).get("deployment")
            if deployment is not None:
                values["model"] = deployment
            fault = self._asked_fault(scope)
            prepared = self._desk.prepare(values, bill, is_chat=self._is_chat, fault=fault)
        except ApiError as error:
            self._desk.refuse(error, bill)
            await _send(send, error.status, error.encoded(), self._headers(bill, error.headers))
            return
        await self._deliver(prepared, bill, _Client(scope, send))

    async def _deliver(self, prepared: Prepared, bill: Bill, client: _Client) -> None:
        """Bills a reply and sends it, or loses it as its fault says.

        The bill is on disk first: a client that has its reply may rely on it, even if it then kills
        this server.
        """
        name = None if prepared.fault is None else prepared.fault.name
        seconds = self._desk.config.latency_seconds
        seconds += prepared.fault.seconds if prepared.fault and name == "slow" else 0.0
        if seconds:
            await asyncio.sleep(seconds)
        if client.has_left:
            self._desk.lose(bill, "left")
        elif name in ("dropped", "dropped_midway", "truncated_json"):
            await self._lose(prepared, bill, client, name)
        elif prepared.call.streams:
            await self._stream(prepared, bill, client)
        else:
            self._desk.bill(prepared, bill)
            headers = self._headers(bill, prepared.headers)
            await _send(client.send, 200, _encoded(prepared), headers)

    async def _stream(self, prepared: Prepared, bill: Bill, client: _Client) -> None:
        headers = self._headers(bill, prepared.headers)
        await client.send(_start(200, [_EVENTS, *headers]))
        *pieces, last = pieces_of(
            prepared.call, prepared.choices, prepared.names, prepared.usage
        )  # fmt: skip
        for piece in pieces:
            await client.send(_part(piece, more=True))
            await asyncio.sleep(0)
        if client.has_left:
            self._desk.lose(bill, "left", status=200)
            return
        self._desk.bill(prepared, bill)
        await client.send(_part(last))

    async def _lose(self, prepared: Prepared, bill: Bill, client: _Client, name: str) -> None:
        """Half a reply, or none."""
        body, headers = _encoded(prepared), self._headers(bill, prepared.headers)
        half = body[: len(body) // 2]
        if name == "truncated_json":
            self._desk.lose(bill, "dropped", status=200)
            await _send(client.send, 200, half, headers)
            return
        self._desk.lose(bill, "dropped")
        if name == "dropped_midway":
            length = (b"content-length", str(len(body)).encode())
            await client.send(_start(200, [_JSON, length, *headers]))
            await client.send(_part(half, more=True))
        client.transport.abort()
        await asyncio.sleep(0.01)  # until the connection knows that it is lost

    def _asked_fault(self, scope: Scope) -> Fault | None:
        for name, value in scope["headers"]:
            if name == _FAULT_HEADER:
                return self._desk.faults.named(value.decode("latin-1"))
        return None

    def _headers(self, bill: Bill, more: Headers) -> list[tuple[bytes, bytes]]:
        request_id = self._desk.id_of("req", bill.number)
        return [
            (b"x-request-id", request_id.encode()),
            *((name.encode(), value.encode()) for name, value in more),
        ]


def check_key(scope: Scope, key: str | None) -> None:
    """Refuses a request without the server's key.

    Raises:
        ApiError: The key is not there, or another.
    """
    if key is None:
        return
    for name, value in scope["headers"]:
        sent = value[len(b"Bearer ") :] if name == b"authorization" else value
        if name in (b"authorization", b"api-key") and hmac.compare_digest(sent, key.encode()):
            return
    raise wrong_key()


async def _body(receive: Receive) -> bytes | None:
    """The whole body; null where the client left before its end."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        return bytes(message.get("body", b""))
    parts = []
    while message["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
    return None


def _encoded(prepared: Prepared) -> bytes:
    reply: dict[str, Any] = reply_of(
        prepared.call, prepared.choices, prepared.names, prepared.usage
    )
    return json.dumps(reply, ensure_ascii=False).encode()


def _start(status: int, headers: list[tuple[bytes, bytes]]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def _part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def _send(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send(_start(status, [_JSON, length, *headers]))
    await send(_part(body))
