"""Content blocks, of which messages are made: how they are read, and how they go out."""
