"""Readers of networks made elsewhere: every file ends as the float64 layers of `network`."""
