"""What is remembered between requests: thought signatures."""
