"""Proof files: exact values that nobody has to trust. See ``docs/proof-format.md``."""
