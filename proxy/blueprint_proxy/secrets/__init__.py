"""Secrets: where they come from, and the one place that puts them into a field."""
