"""Items, of which responses and conversations are made: how they are read, and how they go out."""
