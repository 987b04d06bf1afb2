"""A closed world of small tasks with programmatic answers and teachers of known quality."""
