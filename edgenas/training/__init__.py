"""Recipes, the training loop, the evaluator and its executors."""
