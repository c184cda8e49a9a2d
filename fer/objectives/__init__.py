"""Objectives: losses with the heads they train. An objective owns no data, optimizer or logger."""
