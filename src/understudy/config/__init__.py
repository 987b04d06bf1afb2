"""What a config may hold: the typed schema, the checks across fields, and errors in one line."""
