"""Hostile input to everything that reads what others wrote; it mirrors no package, as all packages read.

`hostile.py` states the promise that every reader keeps, `mutations.py` says how input is spoilt, and the modules beside
them name the readers, each with input that it takes and with how that is spoilt. `test_hostile_input.py` runs a few
examples of each with the ordinary tests and, with the marker `fuzz`, as many as time allows.
"""
