"""Texts read aloud: `/v1/audio/speech`."""
