"""Genie Sim's wire format, for jobs: what its methods are called and what they carry."""
