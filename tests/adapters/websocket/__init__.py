"""What one end of a WebSocket reads of the other, and how fast."""
