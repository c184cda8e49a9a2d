"""The known data sets, one module each."""
