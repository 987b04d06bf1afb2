"""Answers of a model to a question set, scored."""
