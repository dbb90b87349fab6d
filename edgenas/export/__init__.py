"""Networks as files, with proof that they compute the same."""
