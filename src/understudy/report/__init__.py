"""Run folders read back and compared, arm against arm."""
