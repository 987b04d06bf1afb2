"""The comparison of arms, read from run folders or W&B: :func:`load` gives them as a table."""

from understudy.report.read.frame import load, load_items

__all__ = ["load", "load_items"]
