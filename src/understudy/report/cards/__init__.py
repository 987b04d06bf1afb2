"""README files of what is handed on: a data card or a model card, filled from what a run left."""
