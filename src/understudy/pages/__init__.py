"""Figures and one-file HTML pages."""
