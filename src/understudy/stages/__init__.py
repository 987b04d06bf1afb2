"""One short file for each stage: real objects in, metrics out."""
