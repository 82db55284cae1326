"""What is shown of an index: pages of results and of duplicates, and the server."""
