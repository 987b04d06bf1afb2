"""Answers of several sources, rated one by one, become comparisons."""
