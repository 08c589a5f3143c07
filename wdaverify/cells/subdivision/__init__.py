"""Enumeration of cells by subdivision of vertices and edges: bounded, simple, low dimension."""
