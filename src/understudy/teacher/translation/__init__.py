"""Instructions in Chinese, and what a translation must keep."""
