"""One module per command: a configuration in, a result object out."""
