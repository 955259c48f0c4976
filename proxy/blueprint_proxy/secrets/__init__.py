"""Secrets: where they come from, how long they are kept, and the one place that puts them into a field."""
