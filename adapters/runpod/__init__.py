"""RunPod: serverless endpoints.

``backend`` chooses the way that the ``settings`` name: ``queue`` runs a call as a job of the
endpoint's queue, ``direct`` speaks to a worker's own server. A job is submitted, polled and
cancelled through ``job_api``; its answers are the values of ``jobs``, its stream is ``stream``.
Beside the calls: ``management_api`` (workers, their bounds, the bill), ``prices`` (what the
catalogue asks for the endpoint's GPUs), ``assumptions`` (what is taken for granted, put to the
test).
"""

from adapters.runpod.backend import RunPod

__all__ = ["RunPod"]
