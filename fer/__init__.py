"""`fer` runs, records and compares facial-expression-recognition experiments."""
