"""The record of a run: its folder, its manifest and its W&B run."""
