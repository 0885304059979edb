"""Measures Dragoman against a bare pass-through in the same run: ratios, never a test's condition."""
