"""The shared store that another process keeps."""
