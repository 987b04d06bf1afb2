"""The lab's teachers, rater, judge and translator behind an OpenAI-compatible API."""
