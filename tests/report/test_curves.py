"""Loss curves are smoothed and thinned and keep their ends."""

import pandas as pd
import pytest

from understudy.report.curves import TRAIN, VAL, points


def test_few_validation_points_stay_as_they_are() -> None:
    history = pd.DataFrame({"step": [1, 2, 3, 4], VAL: [None, 0.5, None, 0.25]})
    found = points(history, VAL, "step")
    assert found["step"].tolist() == [2, 4]
    assert found[VAL].tolist() == [0.5, 0.25]


def test_many_training_points_are_running_means_up_to_the_last() -> None:
    history = pd.DataFrame({"step": range(10_000), TRAIN: [0.0, 2.0] * 5_000})
    found = points(history, TRAIN, "step")
    assert len(found) <= 251
    assert found["step"].iloc[-1] == 9_999
    assert found[TRAIN].iloc[-1] == pytest.approx(1.0)


def test_a_missing_column_is_no_curve() -> None:
    assert points(pd.DataFrame(), TRAIN, "step").empty
    assert points(pd.DataFrame({"step": [1]}), TRAIN, "step").empty
