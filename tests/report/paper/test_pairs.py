"""A printed figure of differences groups pairs by what they share, and says what it leaves out."""

from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.report.compare import Comparison, compare
from understudy.report.paper.pairs import MAX_PAIRS, pair_groups
from understudy.report.read.runs import load_runs

AddRun = Callable[..., Path]
MINUS = "\N{MINUS SIGN}"


@pytest.fixture
def scaled(tmp_path: Path, add_run: AddRun) -> Callable[..., Comparison]:
    """Two teachers by numbers of rows."""

    def scaled(*sizes: int) -> Comparison:
        for teacher, quality in (("strong", 0.6), ("weak", 0.4)):
            for size in sizes:
                add_run(tmp_path / f"{teacher}{size}", teacher=teacher, num_questions=14,
                        arm=f"data=lab_{teacher},data.num_examples={size}",
                        quality=quality, budget={"examples": size},
                        comparable={"prompts": f"p{size}"})  # fmt: skip
        return compare(load_runs(tmp_path), num_resamples=20)

    return scaled


def test_pairs_of_a_level_come_first_then_those_of_a_series(
    scaled: Callable[..., Comparison],
) -> None:
    found = scaled(100, 400)
    groups, note = pair_groups(found)
    assert note == ""
    names = {group.heading: [dot.name for dot in group.dots] for group in groups}
    assert names == {
        "At 100 rows": [f"lab_strong {MINUS} lab_weak"],
        "At 400 rows": [f"lab_strong {MINUS} lab_weak"],
        "lab_strong, by training rows": names["lab_strong, by training rows"],
        "lab_weak, by training rows": names["lab_weak, by training rows"],
    }
    assert set(names["lab_strong, by training rows"]) <= {f"100 {MINUS} 400", f"400 {MINUS} 100"}
    means = sorted(dot.mean for group in groups for dot in group.dots)
    assert means == sorted(one.mean for one in found.differences
                           if one.metric == found.headline and one.mean is not None)  # fmt: skip


def test_more_pairs_than_are_readable_are_counted(scaled: Callable[..., Comparison]) -> None:
    found = scaled(100, 200, 400, 800, 1600)
    groups, note = pair_groups(found)
    total = sum(one.metric == found.headline for one in found.differences)
    assert total > MAX_PAIRS
    assert sum(len(group.dots) for group in groups) == MAX_PAIRS
    assert note == f"{MAX_PAIRS} of {total} pairs; differences.csv has all"
    assert [group.heading for group in groups[:2]] == ["At 100 rows", "At 200 rows"]
    assert groups[0].dots[0].text.endswith("]")


def test_without_a_grid_there_is_one_group_with_no_heading(tmp_path: Path, add_run: AddRun) -> None:
    for teacher in ("strong", "weak"):
        add_run(tmp_path / teacher, teacher=teacher, arm=f"data=lab_{teacher}", num_questions=14)
    ((group,), note) = pair_groups(compare(load_runs(tmp_path), num_resamples=20))
    assert (group.heading, len(group.dots), note) == ("", 1, "")
