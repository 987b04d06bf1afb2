"""A headless Chromium, where the machine has one."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def dump_dom(tmp_path: Path) -> Callable[..., str]:
    """Opens a page in Chromium and returns its document, without scripts, as it then is."""
    chromium = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if chromium is None:
        pytest.skip("no Chromium on this machine")

    def dump(html: str, fragment: str = "") -> str:
        path = tmp_path / "page.html"
        path.write_text(html, encoding="utf-8")
        command = [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=15000", "--dump-dom", f"{path.as_uri()}#{fragment}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return re.sub(r"<script.*?</script>", "", done.stdout, flags=re.S)

    return dump
