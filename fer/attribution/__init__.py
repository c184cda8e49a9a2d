"""Credits of free pictures: looking them up, keeping them and showing them beside the pictures."""
