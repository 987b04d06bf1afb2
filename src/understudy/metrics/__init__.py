"""Pure metrics: ROUGE, intervals."""
