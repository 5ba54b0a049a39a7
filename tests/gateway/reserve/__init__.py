"""Instances that are rented by the hour: their hooks, their hours, and what a death leaves."""
