"""Completions without a conversation, as programs of before the chat send them."""
