"""The same through a provider's Batch API."""
