"""The wheel: installed into a clean environment, the command works from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_carries_every_config_the_page_and_the_types_marker(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {
        f"understudy/conf/{path.relative_to(ROOT / 'conf').as_posix()}"
        for path in (ROOT / "conf").rglob("*.yaml")
    }
    assert len(configs) >= 25
    assert configs <= names
    assert "understudy/py.typed" in names
    assert {"understudy/pages/page.css", "understudy/pages/page.html.j2"} <= names
    assert not any(name.startswith("tests/") for name in names)


def test_the_installed_command_works_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=120
    )
    python = environment / "bin" / "python"
    install = ["-m", "pip", "--python", str(python), "install", "--no-deps", "--quiet", str(wheel)]
    subprocess.run([sys.executable, *install], check=True, capture_output=True, timeout=120)
    packages = next((environment / "lib").glob("python*/site-packages"))
    # dependencies come from this environment; a path line does not bring its editable installs
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [str(environment / "bin" / "understudy"), "--help"],
        cwd=elsewhere, capture_output=True, text=True, check=False, timeout=120,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    stages = (
        "stage: collect, dashboard, evaluate, inspect, inspect_comparisons, push, rank, rate, "
        "report, reward, reward_eval, sample, score, selfinstruct, serve, sft, tour, translate"
    )
    assert stages in done.stdout
    where = subprocess.run(
        [str(python), "-c", "import understudy.app as app; print(app.conf_dir())"],
        cwd=elsewhere, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert Path(where.stdout.strip()) == packages / "understudy" / "conf"
