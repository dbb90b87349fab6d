"""EdgeNAS designs convolutional networks for a given device and gets them onto it."""

__version__ = "0.1.0"
