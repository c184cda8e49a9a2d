"""From raw downloads to batches on the device. Nothing here knows a model."""
