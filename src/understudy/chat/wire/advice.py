"""The one line that says why nothing can be asked of a model, and what to type."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from urllib.parse import urljoin

from understudy.chat.chat_model import ChatModel
from understudy.chat.wire.errors import CannotAskError, Fault

_MAX_NAMED = 8
_LAB = "lab"  # the identity that conf/teacher/lab_*.yaml give
_INSTEAD = re.compile(r"[Uu]se ['\"`](\w+)['\"`] instead")


def cannot_ask(fault: Fault, model: ChatModel, offered: Sequence[str] = ()) -> CannotAskError:
    """The line for the user; ``offered`` are the models that the server names itself."""
    status = f"{fault.status}: " if fault.status else ""
    remedy = {
        "key": _key,
        "forbidden": _key,
        "quota": _quota,
        "rate_limit": _later,
        "model": lambda fault, model: _model(model, offered),
        "parameter": _parameter,
        "redirect": _redirect,
    }.get(fault.kind, _url)(fault, model)
    return CannotAskError(
        f"teacher {model.name} cannot be asked at {model.url} ({status}{fault.said}); {remedy}"
    )


def _key(_: Fault, model: ChatModel) -> str:
    if model.key_env is None:
        return "it wants a key: type teacher.key_env=NAME_OF_VARIABLE and export NAME_OF_VARIABLE"
    return f"the key of {model.key_env} is refused: type export {model.key_env}=KEY"


def _quota(_: Fault, model: ChatModel) -> str:
    return "the account has nothing left to spend: top it up, and the same line goes on"


def _later(_: Fault, model: ChatModel) -> str:
    return "the same line goes on later; teacher.max_wait_seconds=SECONDS waits longer"


def _model(model: ChatModel, offered: Sequence[str]) -> str:
    if not offered:
        return f"it knows no {model.model}: type teacher.model=NAME"
    near = difflib.get_close_matches(model.model, offered, n=_MAX_NAMED, cutoff=0.6)
    named = near or sorted(offered)[:_MAX_NAMED]
    more = f" and {len(offered) - len(named)} more" if len(offered) > len(named) else ""
    return f"type teacher.model=NAME; it offers {', '.join(named)}{more}"


def _parameter(fault: Fault, model: ChatModel) -> str:
    name = next((ours for ours, sent in model.renamed.items() if sent == fault.refused), None)
    name = name or str(fault.refused)
    if instead := _INSTEAD.search(fault.said):
        renamed = {**model.renamed, name: instead.group(1)}
        pairs = ", ".join(f"{ours}: {theirs}" for ours, theirs in renamed.items())
        return f"type '+teacher.renamed={{{pairs}}}'"
    refused = ",".join([*model.refused, name])
    return f"type 'teacher.refused=[{refused}]' to leave it out, or teacher.params.{name}=VALUE"


def _redirect(fault: Fault, model: ChatModel) -> str:
    target = urljoin(f"{model.url}/", fault.headers.get("location", ""))
    base = target.split("/chat/completions")[0].rstrip("/")
    return f"it is elsewhere: type teacher.base_url={base}"


def _url(fault: Fault, model: ChatModel) -> str:
    if fault.is_unreachable and model.identity == _LAB:
        return "start the lab's server by stage=serve, or type teacher.server=PORT_OR_RUN_FOLDER"
    if fault.is_unreachable:
        return "is the server up? Type teacher.base_url=http://HOST:PORT/v1 for another address"
    if model.api == "azure":
        return "check teacher.base_url=https://NAME.openai.azure.com and teacher.api_version"
    if not model.url.endswith("/v1"):
        return f"no API is there: type teacher.base_url={model.url}/v1"
    return "no API is there: type teacher.base_url=http://HOST:PORT/v1"
