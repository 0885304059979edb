"""Dragoman: an OpenAI-compatible gateway to Gemini and the image vendors."""
