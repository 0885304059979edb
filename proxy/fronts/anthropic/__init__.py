"""Anthropic's dialect: what its endpoints share stands here, each in a folder of its own."""
