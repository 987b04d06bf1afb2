"""A matrix figure holds its numbers, and its colours let them be read."""

from understudy.pages.heatmap import HeatCell, matrix_figure
from understudy.pages.theme import COLOURS


def test_a_matrix_shows_its_numbers_and_frames_what_is_marked() -> None:
    cells = [
        [HeatCell(".210", 1.0, is_marked=True), HeatCell("<.5>", 0.0)],
        [HeatCell("—", None), HeatCell(".300", 0.5)],
    ]
    figure = matrix_figure(["a", "b"], ["x", "y"], cells, column_title="teacher")
    (heat,) = figure.data
    assert [list(row) for row in heat.z] == [[1.0, 0.0], [None, 0.5]]
    assert [list(row) for row in heat.text] == [[".210", "&lt;.5&gt;"], ["—", ".300"]]
    (frame,) = figure.layout.shapes
    assert (frame.x0, frame.y1) == (-0.48, 0.46)
    assert list(figure.layout.yaxis.range) == [1.5, -0.5]
    assert list(figure.layout.xaxis.ticktext) == ["x", "y"]


def test_the_ink_is_readable_on_the_strongest_colour() -> None:
    for theme in (0, 1):
        one, other = (_luminance(COLOURS[name][theme]) for name in ("ink", "heat"))
        contrast = (max(one, other) + 0.05) / (min(one, other) + 0.05)
        assert contrast > 4.5


def _luminance(colour: str) -> float:
    """WCAG 2.1, relative luminance."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
