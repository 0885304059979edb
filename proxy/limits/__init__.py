"""How much each caller has had of what it may have: counted in memory, in a file, or in Redis."""
