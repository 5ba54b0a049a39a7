"""A policy played on a virtual clock."""
