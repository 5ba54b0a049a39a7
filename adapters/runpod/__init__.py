"""RunPod: serverless endpoints.

``backend`` chooses the way that the ``settings`` name. ``queue`` runs a call as a job of the
endpoint's queue, submitted, polled until it is done, and cancelled; ``job_api`` is each request
for that, ``jobs`` reads the answers (what became of a job, what it cost), ``stream`` the chunks of
one. ``direct`` speaks to a worker's own server instead: behind a load balancer, or vLLM's OpenAI
route.

Beside the calls: ``management_api`` (workers, their bounds, the bill), ``prices`` (what the
catalogue asks for the endpoint's GPUs), ``assumptions`` (what is taken for granted, put to the
test).
"""

from adapters.runpod.backend import RunPod

__all__ = ["RunPod"]
