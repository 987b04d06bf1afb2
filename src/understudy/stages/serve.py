"""``stage=serve``: the lab's models as an OpenAI-compatible server, until a signal ends it.

``endpoint.json`` in the run folder says where it is as soon as it takes requests; ``bills.jsonl``
has a line for each request. Ctrl-C and SIGTERM are how it ends well.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from understudy.durable import replacing
from understudy.records import RunError
from understudy.stages.printing import print_facts

if TYPE_CHECKING:
    import socket

    from understudy.lab.server.settings import ServerConfig
    from understudy.tracking.run import Run

ENDPOINT = "endpoint.json"
BILLS = "bills.jsonl"
BILL = "bill.json"
_COUNTED = ("requests", "replied", "billed_usd", "prompt_tokens", "completion_tokens",
            "asked_twice")  # fmt: skip

_log = logging.getLogger(__name__)


def run(*, run: Run, server: ServerConfig) -> None:
    """Serves, and records what was asked and what it cost.

    Raises:
        InputError: A price, the bills of the run that goes on, or the key's variable is wrong.
        RunError: The address is taken.
    """
    from understudy.lab.server.app import lab_app  # noqa: PLC0415 - only a server loads Starlette
    from understudy.lab.server.serving import base_url, serve  # noqa: PLC0415 - as above

    with _bound(run, server) as bound:
        app, url = lab_app(server, run.folder / BILLS), base_url(bound)

        def say_where() -> None:
            _write_json(run.folder / ENDPOINT, {"base_url": url, "pid": os.getpid()})
            _print_how_to_ask(url, server, list(app.state.desk.models))

        with run.timed("serving"):
            serve(app, bound, say_where)
    _record(run, app.state.desk.bills.facts())


def check(*, server: ServerConfig) -> None:
    """Refuses what cannot be served before a run folder is made.

    Raises:
        InputError: The key's variable is not set.
        RunError: The address is taken, or not this machine's.
    """
    from understudy.lab.server.serving import bound_socket  # noqa: PLC0415 - as above

    server.key()
    bound_socket(server.host, server.port).close()


def plan(*, seed: int, server: ServerConfig) -> None:
    """Prints what would be served where."""
    del seed
    from understudy.lab.server.answers import models_of  # noqa: PLC0415 - as above

    print_facts("Plan: serve", {**_facts(server), "models": ", ".join(models_of(server.lab))})


def _bound(run: Run, server: ServerConfig) -> socket.socket:
    """A socket at the server's address; a run that goes on takes its former port if it can."""
    from understudy.lab.server.serving import bound_socket  # noqa: PLC0415 - as above

    former = _former_port(run.folder) if run.resumes else None
    if former is not None:
        try:
            return bound_socket(server.host, former)
        except RunError as error:
            _log.warning("the former port %d is taken by now (%s)", former, error)
    return bound_socket(server.host, server.port)


def _former_port(folder: Path) -> int | None:
    path = folder / ENDPOINT
    if not path.is_file():
        return None
    url = str(json.loads(path.read_text(encoding="utf-8"))["base_url"])
    return int(url.removesuffix("/v1").rpartition(":")[2])


def _record(run: Run, bill: dict[str, Any]) -> None:
    _write_json(run.folder / BILL, bill)
    run.add_output(run.folder / BILL)
    run.add_output(run.folder / BILLS, rows=bill["requests"])
    run.add_metrics({f"serve/{name}": bill[name] for name in _COUNTED})
    run.add_metrics({f"serve/fault/{name}": count for name, count in bill["faults"].items()})
    shown = {name: f"{bill[name]:,}" for name in _COUNTED}
    print_facts("Served", {**shown, "faults": str(sum(bill["faults"].values()))})


def _print_how_to_ask(url: str, server: ServerConfig, models: list[str]) -> None:
    if not server.is_local:
        _log.warning(
            "the server listens on %s: whoever reaches this machine can use it%s; "
            "server.host=127.0.0.1 keeps it here",
            server.host,
            "" if server.key_env else ", without a key",
        )
    print_facts(f"Serving at {url}", {**_facts(server), "models": ", ".join(models)})
    for line in _examples(url, server.key_env):
        Console().print(line, soft_wrap=True, highlight=False, markup=False)


def _examples(url: str, key_env: str | None) -> list[str]:
    """Two lines to try: one for the shell, one for Python."""
    message = '{"role": "user", "content": "give the first item\\n\\nc a b"}'
    key = f' -H "authorization: Bearer ${key_env}"' if key_env else ""
    given = f"os.environ['{key_env}']" if key_env else "'none'"
    return [
        f"curl {url}/chat/completions{key} -d "
        f'\'{{"model": "lab-strong", "messages": [{message}]}}\'',
        f"python -c \"import openai{', os' * bool(key_env)}; print(openai.OpenAI(base_url='{url}', "
        f'api_key={given}).models.list().data)"',
        "stop with Ctrl-C",
    ]


def _facts(server: ServerConfig) -> dict[str, str]:
    rates = {name: rate for name, rate in server.faults.rates.items() if rate}
    limits = {"requests": server.requests_per_minute, "tokens": server.tokens_per_minute}
    given = [f"{limit:,.0f} {kind} a minute" for kind, limit in limits.items() if limit]
    return {
        "address": f"{server.host}:{server.port or 'a free port'}",
        "key": f"in ${server.key_env}" if server.key_env else "none is wanted",
        "limits": ", ".join(given) or "none",
        "faults": ", ".join(f"{name} {rate:.3g}" for name, rate in rates.items()) or "on request",
    }


def _write_json(path: Path, values: dict[str, Any]) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
