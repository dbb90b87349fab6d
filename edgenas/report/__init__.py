"""A study as a page or a table."""
