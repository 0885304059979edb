"""Bytes and values: JSON with long strings left aside, base64, and strings kept in files."""
