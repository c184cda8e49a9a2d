"""Which run is better: runs grouped by configuration, a table, paired tests, and the report of all three."""
