"""What is kept from one request to the next: responses, and conversations with their endpoint."""
