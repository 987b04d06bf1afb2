"""The ledger: every reply that was paid for, in one durable file."""
