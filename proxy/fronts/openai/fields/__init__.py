"""Fields of a body: parameters and tools, of which several endpoints read some alike."""
