"""Figures and one-file HTML pages that need no network."""
