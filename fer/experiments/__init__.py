"""Experiment files, reported figures, and statistics over seeds."""
