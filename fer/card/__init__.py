"""The model card: what a model is, what it is worth, what it must not be used for, and the terms it inherits."""
