"""A report as files for a paper: tidy CSV, LaTeX tables, figures as PDF and SVG."""
