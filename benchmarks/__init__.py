"""What Spillgate costs, measured beside what else one could put there."""
