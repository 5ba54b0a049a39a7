"""Stores of policies that were in force."""
