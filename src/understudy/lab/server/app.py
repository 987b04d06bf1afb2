"""The application: the API's paths, and the lab's own for bills."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from understudy.lab.server.completing import Completions, check_key
from understudy.lab.server.desk import Desk
from understudy.lab.server.errors import ApiError, not_found, unknown_model, unknown_url
from understudy.lab.server.settings import ServerConfig

_AZURE = "/openai/deployments/{deployment}"


def lab_app(config: ServerConfig, bills: Path | None = None) -> Starlette:
    """The server as an ASGI application.

    Args:
        config: What it is.
        bills: The file that its bills are in, read first where it is there; null keeps none.

    Raises:
        InputError: The key's variable is not set, or a price or the bills are wrong.
    """
    desk, key = Desk(config, bills), config.key()
    desk_paths = Paths(desk, key)
    chat = Completions(desk, key, is_chat=True)
    text = Completions(desk, key, is_chat=False)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        desk.bills.close()

    routes = [
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/completions", text, methods=["POST"]),
        Route(f"{_AZURE}/chat/completions", chat, methods=["POST"]),
        Route(f"{_AZURE}/completions", text, methods=["POST"]),
        Route("/v1/models", desk_paths.models),
        Route("/v1/models/{name}", desk_paths.model),
        Route("/lab/bill", desk_paths.bill),
        Route("/lab/bill/{request_id}", desk_paths.bill_of),
    ]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={ApiError: _refused, HTTPException: _not_there},
    )
    app.state.desk = desk
    return app


class Paths:
    """The paths beside the completions."""

    def __init__(self, desk: Desk, key: str | None) -> None:
        """``key`` is what clients must send for the API's own paths."""
        self._desk = desk
        self._key = key

    async def models(self, request: Request) -> Response:
        """All models."""
        check_key(request.scope, self._key)
        listed = [self._listed(name) for name in self._desk.models]
        return JSONResponse({"object": "list", "data": listed})

    async def model(self, request: Request) -> Response:
        """One model."""
        check_key(request.scope, self._key)
        name = request.path_params["name"]
        if name not in self._desk.models:
            raise unknown_model(name, self._desk.models)
        return JSONResponse(self._listed(name))

    async def bill(self, request: Request) -> Response:
        """All sums; ``?all=1`` lists every content that was answered again."""
        facts = self._desk.bills.facts(with_all=bool(request.query_params.get("all")))
        return JSONResponse({**facts, "limits": self._desk.limits.facts()})

    async def bill_of(self, request: Request) -> Response:
        """The bill of one request, by either of its ids or by its number."""
        _, _, number = request.path_params["request_id"].rpartition("-")
        bill = self._desk.bills.of(int(number)) if number.isdigit() else None
        if bill is None:
            raise not_found("request")
        return JSONResponse(bill)

    def _listed(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._desk.created, "owned_by": "lab"}


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body, error.status, headers=dict(error.headers))


async def _not_there(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = unknown_url(request.method, request.url.path)
    return JSONResponse(known.body, error.status_code)
