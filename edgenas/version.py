"""The version, on its own: whoever names it imports nothing else."""

__version__ = "0.2.0"
