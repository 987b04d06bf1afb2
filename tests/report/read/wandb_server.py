"""As much of a W&B server as a run needs to be logged and the public API to read it back."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

_VIEWER = {
    "id": "VXNlcjox", "name": "ann", "username": "ann", "email": "ann@localhost", "admin": False,
    "flags": "{}", "entity": "ann", "deletedAt": None, "apiKeys": {"edges": []},
    "teams": {"edges": []},
}  # fmt: skip
_ARTIFACT = {
    "id": "a", "state": "COMMITTED",
    "artifactSequence": {"id": "s", "latestArtifact": {"id": "a", "versionIndex": 0}},
}  # fmt: skip
"""The reply to every artifact: it is here already, nothing needs to be sent."""

_TIMES = {"createdAt": "2026-11-20T10:00:00Z", "heartbeatAt": "2026-11-20T10:01:30Z"}


@dataclass
class StoredRun:
    """A run as the server keeps it."""

    name: str
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    state: str = "running"
    job_type: str | None = None

    def node(self) -> dict[str, Any]:
        return {
            "id": f"id-{self.name}", "name": self.name, "displayName": self.name, "projectId": "1",
            "tags": [], "sweepName": None, "state": self.state, "group": None,
            "config": json.dumps({key: {"value": value} for key, value in self.config.items()}),
            "jobType": self.job_type, "commit": None, "readOnly": True, **_TIMES,
            "description": "", "notes": None, "systemMetrics": "{}", "historyKeys": None,
            "summaryMetrics": json.dumps(self.summary), "historyLineCount": len(self.history),
            "user": {"name": "ann", "username": "ann"},
        }  # fmt: skip


class WandbServer(ThreadingHTTPServer):
    """Keeps runs by project; ``url`` is what WANDB_BASE_URL wants."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.projects: dict[str, dict[str, StoredRun]] = {}
        self.rejects_logins = False
        self.url = f"http://127.0.0.1:{self.server_port}"

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        project = f"{variables.get('entity')}/{variables.get('project')}"
        if "upsertBucket" in query:
            return self._upsert(project, variables)
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/up"} for name in variables["files"]]
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
        if "createArtifact(" in query:
            return {"createArtifact": {"artifact": _ARTIFACT}}
        if "history(samples" in query:
            lines = [json.dumps(row) for row in self._run(project, variables["name"]).history]
            return {"project": {"run": {"history": lines}}}
        if "query Runs" in query:
            return {"project": self._page(project, variables) if project in self.projects else None}
        return {"viewer": _VIEWER} if "viewer" in query else {}

    def _run(self, project: str, name: str) -> StoredRun:
        return self.projects.setdefault(project, {}).setdefault(name, StoredRun(name))

    def _upsert(self, project: str, variables: dict[str, Any]) -> dict[str, Any]:
        run = self._run(project, variables["name"])
        given = json.loads(variables["config"] or "{}")
        run.config |= {key: item["value"] for key, item in given.items()}
        run.job_type = variables["jobType"] or run.job_type
        entity, name = project.split("/")
        of = {"id": "p", "name": name, "entity": {"id": "e", "name": entity}}
        bucket = {
            "id": f"id-{run.name}", "name": run.name, "displayName": run.name, "description": None,
            "config": "{}", "sweepName": None, "historyLineCount": 0, "project": of,
        }  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}

    def _page(self, project: str, variables: dict[str, Any]) -> dict[str, Any]:
        """One page of runs: pages are as long as they are asked for, as the client follows them."""
        runs = list(self.projects[project].values())
        start = int(variables["cursor"] or 0)
        end = start + variables["perPage"]
        edges = [
            {"node": run.node(), "cursor": str(start + place)}
            for place, run in enumerate(runs[start:end], start=1)
        ]
        info = {"endCursor": str(end), "hasNextPage": end < len(runs)}
        return {"internalId": "1", "runCount": len(runs), "readOnly": True,
                "runs": {"edges": edges, "pageInfo": info}}  # fmt: skip

    def stream(self, project: str, name: str, sent: dict[str, Any]) -> None:
        run = self._run(project, name)
        files = sent.get("files") or {}
        for line in files.get("wandb-summary.json", {}).get("content", []):
            run.summary = json.loads(line)
        run.history += map(json.loads, files.get("wandb-history.jsonl", {}).get("content", []))
        if sent.get("complete"):
            run.state = "finished" if sent.get("exitcode") == 0 else "failed"


class _Handler(BaseHTTPRequestHandler):
    server: WandbServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path.endswith("/file_stream"):
            _, _, entity, project, name, _ = self.path.split("/")
            self.server.stream(f"{entity}/{project}", name, json.loads(body))
            self._reply({})
        elif self.path == "/graphql":
            if self.server.rejects_logins:
                self._reply({"errors": [{"message": "invalid key"}]}, status=401)
                return
            asked = json.loads(body)
            self._reply({"data": self.server.answer(asked["query"], asked.get("variables") or {})})
        else:
            self._reply({})

    def do_PUT(self) -> None:
        self.do_POST()

    def _reply(self, content: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@contextmanager
def serving() -> Iterator[WandbServer]:
    """A server that runs until the block ends."""
    server = WandbServer()
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
