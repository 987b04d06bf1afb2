"""The application: the API's paths, and the lab's own for bills."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from understudy.lab.server.completing import Completions
from understudy.lab.server.desk import Desk
from understudy.lab.server.errors import ApiError, unknown_url
from understudy.lab.server.paths import Paths
from understudy.lab.server.settings import ServerConfig

_AZURE = "/openai/deployments/{deployment}"


def lab_app(config: ServerConfig, bills: Path | None = None) -> Starlette:
    """The server as an ASGI application; ``state.desk`` has its bills.

    Args:
        config: What it is.
        bills: The file that its bills are in, read first where it is there; null keeps none.

    Raises:
        InputError: The key's variable is not set, or a price or the bills are wrong.
    """
    key = config.key()
    desk = Desk(config, bills)
    paths = Paths(desk, key)
    chat = Completions(desk, key, is_chat=True)
    text = Completions(desk, key, is_chat=False)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await paths.batches.close()
        desk.bills.close()

    app = Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/completions", text, methods=["POST"]),
            Route(f"{_AZURE}/chat/completions", chat, methods=["POST"]),
            Route(f"{_AZURE}/completions", text, methods=["POST"]),
            *paths.routes(),
        ],
        lifespan=lifespan,
        exception_handlers={ApiError: _refused, HTTPException: _not_there},
    )
    app.state.desk = desk
    return app


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body, error.status, headers=dict(error.headers))


async def _not_there(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = unknown_url(request.method, request.url.path)
    return JSONResponse(known.body, error.status_code)
