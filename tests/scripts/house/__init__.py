"""What ``python -m scripts.house`` measures, on trees of a few lines, and on this one."""
