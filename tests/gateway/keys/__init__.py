"""What keys may do beside what they may spend."""
