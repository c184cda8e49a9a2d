"""Train a network; knows neither MLflow nor commands."""
