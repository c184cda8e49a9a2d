"""Folders that several tests look into."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The repository."""
REAL_FACES = ROOT.parent / "shared/data/wikimedia_commons_emotions"
"""84 real faces, where they are at hand; tests that need them skip without."""
