"""Find test images among training images."""
