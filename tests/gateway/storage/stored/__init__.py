"""Files, batches and the lines of jobs in stores of both kinds."""
