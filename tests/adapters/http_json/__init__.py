"""``kind: http``: any JSON endpoint by a mapping that the policy declares."""
