"""What torch costs under the local runtime, and what fixed shapes and graphs save."""
