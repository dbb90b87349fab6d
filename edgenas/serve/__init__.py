"""A bundle behind HTTP. No torch."""
