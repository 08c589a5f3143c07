"""Bounds that frame the exact value: attacks from below, certificates from above."""
