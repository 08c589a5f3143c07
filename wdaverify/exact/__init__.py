"""The exact engine: suprema over cells, growth envelopes, values."""
