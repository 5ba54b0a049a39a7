"""A stand-in for a serverless GPU platform: RunPod's protocol in front of RunPod's own worker.

The queue, its HTTP surface and the starting and ending of workers are written here; what runs a
job is the worker program of RunPod's SDK, started on the first job (a real cold start) and ended
when it has been idle (scale to zero).
"""
