"""The client: one request to an API, its limits, pauses and attempts."""
