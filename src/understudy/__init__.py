"""Understudy: what a better teacher buys a small model, measured end to end (Peng et al. 2023)."""
