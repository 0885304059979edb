"""Texts and pictures judged: `/v1/moderations`."""
