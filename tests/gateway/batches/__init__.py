"""Batches over embedded stores: their lines run once each, whoever dies."""
