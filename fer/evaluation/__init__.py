"""Predict, measure and report: figures of one model on one data set."""
