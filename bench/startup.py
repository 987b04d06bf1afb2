"""CPU time of ``--help`` and of a config error beside a bare Hydra app over the same conf/.

Usage: python bench/startup.py [--rounds 7]

Variants run in turn, round by round; a ratio is the median of same-round ratios, its range behind.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BARE = """
import sys
import hydra
from understudy.config.schema import register
register()
@hydra.main(config_path={conf!r}, config_name="config", version_base="1.3")
def main(cfg):
    pass
main()
"""


def cpu_seconds(command: list[str]) -> float:
    """User and system seconds of a finished child process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Prints medians in seconds and ratios to the bare app."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE.format(conf=str(ROOT / "conf")))
        ours = str(ROOT / "run.py")
        commands = {
            "bare --help": [sys.executable, str(bare), "--help"],
            "ours --help": [sys.executable, ours, "--help"],
            "bare config error": [sys.executable, str(bare), "trainer.max_stps=3"],
            "ours config error": [sys.executable, ours, "trainer.max_stps=3"],
        }
        for command in commands.values():
            cpu_seconds(command)
        seconds = [{n: cpu_seconds(c) for n, c in commands.items()} for _ in range(rounds)]
    for name in commands:
        kind = name.split(" ", 1)[1]
        ratios = [each[name] / each[f"bare {kind}"] for each in seconds]
        middle = statistics.median(each[name] for each in seconds)
        print(
            f"{name:20s} {middle:5.2f} s  ratio {statistics.median(ratios):.2f} "
            f"[{min(ratios):.2f}, {max(ratios):.2f}]"
        )


if __name__ == "__main__":
    main()
