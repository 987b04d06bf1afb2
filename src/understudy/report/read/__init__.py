"""Runs read back: from folders or from W&B, for comparisons or as a data frame."""
