"""The ``pages`` of durable jobs, of which ``job_requests`` reads what is asked."""
