"""Use a trained model: recognise, annotate, explain, serve a page."""
