"""The worst case in the other world: the original network in float32 arithmetic."""
