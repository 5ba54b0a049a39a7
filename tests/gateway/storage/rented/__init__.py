"""The stores of rented instances."""
