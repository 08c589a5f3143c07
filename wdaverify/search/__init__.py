"""Exact suprema and distances by branch and bound over partial activation patterns: no cells."""
