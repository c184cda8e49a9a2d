"""`demo`: a page on this machine that recognises the faces of a dropped picture and keeps nothing of it."""

from fer.config.commands import DemoConfig
from fer.prediction.page import serve


def run(config: DemoConfig) -> None:
    """Serve the page until a signal comes."""
    serve(config)
