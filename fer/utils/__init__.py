"""Helpers that know nothing of faces or models."""
