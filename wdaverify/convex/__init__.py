"""Convex programs and the evidence that they were solved."""
