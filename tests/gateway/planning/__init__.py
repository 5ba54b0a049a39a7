"""The planner's rooms against plain recounts of what they say in constant time."""
