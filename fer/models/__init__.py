"""Classifiers and where their weights come from."""
