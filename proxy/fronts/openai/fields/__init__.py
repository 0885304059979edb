"""Fields of a body that several endpoints read alike: parameters and tools."""
