"""What is learned: data sets, splits, losses, metrics."""
