"""Checkpoints: load, make from scratch, attend by segments, generate, save."""
