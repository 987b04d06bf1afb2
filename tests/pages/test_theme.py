"""Colours can be told from their ground, in both themes."""

import pytest

from understudy.pages.theme import (
    BASELINE_GLYPHS,
    BASELINE_SYMBOLS,
    COLOURS,
    GLYPHS,
    SERIES,
    SYMBOLS,
    dark_of_light,
    series_colour,
    series_glyph,
    series_marker,
)


def luminance(colour: str) -> float:
    """WCAG's relative luminance of ``#rrggbb``."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_text_has_the_contrast_that_readers_need(theme: int) -> None:
    for ground in ("ground", "panel", "alert-ground", "note-ground"):
        assert contrast(COLOURS["ink"][theme], COLOURS[ground][theme]) >= 7
    for text, ground in (("muted", "ground"), ("muted", "panel"), ("accent", "ground"),
                         ("accent", "note-ground"), ("alert", "alert-ground")):  # fmt: skip
        assert contrast(COLOURS[text][theme], COLOURS[ground][theme]) >= 4.5
    for pair in (*SERIES, COLOURS["baseline"]):
        assert contrast(pair[theme], COLOURS["ground"][theme]) >= 3


def test_every_light_colour_has_one_dark_twin() -> None:
    assert len(dark_of_light()) == len(COLOURS) + len(SERIES)


def test_arms_differ_in_colour_and_symbol_and_repeat_in_neither_together() -> None:
    looks = {(series_colour(n), series_marker(n, size=9)["symbol"]) for n in range(40)}
    assert len(looks) == 40
    assert len({series_glyph(n) for n in range(-8, 8)}) == 16
    assert (len(GLYPHS), len(BASELINE_GLYPHS)) == (len(SYMBOLS), len(BASELINE_SYMBOLS))


def test_baselines_are_grey_and_hollow() -> None:
    marker = series_marker(-2, size=9)
    assert marker["color"] == COLOURS["ground"][0]
    assert marker["line"]["color"] == series_colour(-2) == COLOURS["baseline"][0]
