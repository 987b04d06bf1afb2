"""New instructions from a few, as Self-Instruct and Alpaca made them."""
