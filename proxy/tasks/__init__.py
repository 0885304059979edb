"""Picture jobs at vendors: submitted once, polled until they end."""
