"""What would keep a valid policy from being served: mistakes, claims, and files that are spoilt."""
