"""What calls hold, cost and are charged."""
