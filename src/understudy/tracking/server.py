"""Which W&B server is meant, whether somebody is logged in there, and whether it answers.

All is known before wandb is asked, which would prompt for a login or try for minutes.
"""

from __future__ import annotations

import netrc
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

_WANDB_HOST = "api.wandb.ai"
"""Whose login wandb takes for W&B's own servers under their other names too."""

_PROBE_SECONDS = 2.0


def server_url() -> str:
    """The server's address: WANDB_BASE_URL, else wandb's own setting."""
    import wandb  # noqa: PLC0415 - costs a second, and only a recorded run needs it

    return os.environ.get("WANDB_BASE_URL") or str(wandb.setup().settings.base_url)


def has_login(url: str) -> bool:
    """Whether a key for the server is in the environment or in netrc, where wandb looks."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        logins = netrc.netrc(str(path))
    except (OSError, netrc.NetrcParseError):
        return False
    return any(logins.authenticators(host) for host in (urlsplit(url).netloc, _WANDB_HOST))


def answers(url: str) -> bool:
    """Whether the server takes a connection within two seconds; behind a proxy, taken for true."""
    if getproxies():
        return True
    parts = urlsplit(url)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=_PROBE_SECONDS):
            return True
    except OSError:
        return False
