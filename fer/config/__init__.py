"""Options: declared once as dataclasses, from which command line and YAML files are read."""
