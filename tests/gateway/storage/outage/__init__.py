"""What holds while a shared store is lost, over one that a test loses."""
