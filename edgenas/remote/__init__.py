"""Measuring on a board, over HTTP or SSH. No torch."""
