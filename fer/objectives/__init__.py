"""What training minimises. An objective owns no data, optimizer or logger."""
