"""Several models in one worker's memory: the plan as values, loads in a thread, calls that wait."""
