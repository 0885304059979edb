"""Replies: the pieces of which several endpoints make them, and their shapes."""
