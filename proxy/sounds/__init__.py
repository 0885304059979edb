"""Sound files: their types, what is made of raw samples, and by what."""
