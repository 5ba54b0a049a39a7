"""Schedules: each instant begins what it is for once, over gateways, reloads and deaths."""
