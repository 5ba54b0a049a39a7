"""``kind: potassium``: Potassium 0.5 itself, and this project's runtime (``servers``)."""
