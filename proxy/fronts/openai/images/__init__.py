"""The Images API: generations, edits, variations."""
