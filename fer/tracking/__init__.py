"""Everything MLflow; besides `fer.serving` the only place that imports it."""
