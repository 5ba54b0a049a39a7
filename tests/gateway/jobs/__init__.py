"""Durable jobs, over embedded stores and a platform that outlives the gateways: killed at every
step too."""
