"""What a model's developer writes: declarations, how an app is found, what handlers keep."""
