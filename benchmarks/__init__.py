"""What is claimed about speed and accuracy, and how to measure it again."""
