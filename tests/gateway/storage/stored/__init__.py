"""Files and batches in stores of both kinds."""
