"""``kind: runpod``: a scripted ``platform``; jobs, streams, retries, prices, the management API."""
