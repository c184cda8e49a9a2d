"""The page that says what a model is, how good it is and what it must not be used for."""
