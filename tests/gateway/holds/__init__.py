"""What is known of holds beside their amounts."""
