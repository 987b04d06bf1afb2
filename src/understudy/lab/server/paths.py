"""The paths beside the completions: models, files, batches, and the lab's own for bills."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from understudy.lab.server.batches import Batches
from understudy.lab.server.call import read_object
from understudy.lab.server.completing import check_key
from understudy.lab.server.desk import Desk
from understudy.lab.server.errors import not_found, unknown_model, wrong
from understudy.lab.server.faults import HEADER
from understudy.lab.server.files import Files, read_form

_PAGE = 20


class Paths:
    """What is answered there."""

    def __init__(self, desk: Desk, key: str | None) -> None:
        """``key`` is what clients must send for the API's own paths."""
        self._desk = desk
        self._key = key
        self._files = Files(desk.prefix)
        self.batches = Batches(desk, self._files)

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("/v1/models", self.models),
            Route("/v1/models/{name}", self.model),
            Route("/v1/files", self.list_files),
            Route("/v1/files", self.send_file, methods=["POST"]),
            Route("/v1/files/{id}", self.file),
            Route("/v1/files/{id}", self.delete_file, methods=["DELETE"]),
            Route("/v1/files/{id}/content", self.content),
            Route("/v1/batches", self.list_batches),
            Route("/v1/batches", self.create_batch, methods=["POST"]),
            Route("/v1/batches/{id}", self.batch),
            Route("/v1/batches/{id}/cancel", self.cancel_batch, methods=["POST"]),
            Route("/lab/bill", self.bill),
            Route("/lab/bill/{id}", self.bill_of),
        ]

    async def models(self, request: Request) -> Response:
        """All models."""
        self._admit(request)
        return _list([self._listed(name) for name in self._desk.models])

    async def model(self, request: Request) -> Response:
        """One model."""
        self._admit(request)
        name = request.path_params["name"]
        if name not in self._desk.models:
            raise unknown_model(name, self._desk.models)
        return JSONResponse(self._listed(name))

    async def list_files(self, request: Request) -> Response:
        """All files."""
        self._admit(request)
        return _list([file.listed() for file in self._files.all()])

    async def send_file(self, request: Request) -> Response:
        """Takes a file."""
        self._admit(request)
        form = read_form(await request.body(), request.headers.get("content-type", ""))
        return JSONResponse(self._files.add_sent(form).listed())

    async def file(self, request: Request) -> Response:
        """One file, without its content."""
        self._admit(request)
        return JSONResponse(self._files.get(request.path_params["id"]).listed())

    async def delete_file(self, request: Request) -> Response:
        """Forgets a file."""
        self._admit(request)
        file_id = request.path_params["id"]
        self._files.delete(file_id)
        return JSONResponse({"id": file_id, "object": "file", "deleted": True})

    async def content(self, request: Request) -> Response:
        """The content of a file."""
        self._admit(request)
        content = self._files.get(request.path_params["id"]).content
        return Response(content, media_type="application/octet-stream")

    async def list_batches(self, request: Request) -> Response:
        """Some batches."""
        self._admit(request)
        limit = request.query_params.get("limit", str(_PAGE))
        if not limit.isdigit() or not int(limit):
            raise wrong("limit", "it must be a number from 1")
        return JSONResponse(self.batches.page(int(limit), request.query_params.get("after")))

    async def create_batch(self, request: Request) -> Response:
        """Begins a batch."""
        self._admit(request)
        return JSONResponse(self.batches.create(read_object(await request.body())).listed())

    async def batch(self, request: Request) -> Response:
        """One batch."""
        self._admit(request)
        return JSONResponse(self.batches.get(request.path_params["id"]).listed())

    async def cancel_batch(self, request: Request) -> Response:
        """Ends a batch early."""
        self._admit(request)
        return JSONResponse(self.batches.cancel(request.path_params["id"]).listed())

    async def bill(self, request: Request) -> Response:
        """All sums; ``?all=1`` lists every content that was answered again."""
        facts = self._desk.bills.facts(with_all=bool(request.query_params.get("all")))
        return JSONResponse({**facts, "limits": self._desk.limits.facts()})

    async def bill_of(self, request: Request) -> Response:
        """The bill of one request, by either of its ids or by its number."""
        _, _, number = request.path_params["id"].rpartition("-")
        bill = self._desk.bills.of(int(number)) if number.isdigit() else None
        if bill is None:
            raise not_found("request")
        return JSONResponse(bill)

    def _admit(self, request: Request) -> None:
        """Refuses a request without the key, or one that asks for a refusal.

        Raises:
            ApiError: It does so.
        """
        check_key(request.scope, self._key)
        asked = request.headers.get(HEADER)
        error = self._desk.faults.named(asked).error() if asked else None
        if error is not None:
            raise error

    def _listed(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._desk.created, "owned_by": "lab"}


def _list(rows: list[dict[str, Any]]) -> Response:
    return JSONResponse({"object": "list", "data": rows, "has_more": False})
