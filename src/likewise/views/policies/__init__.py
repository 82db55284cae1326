"""What views look like, as settings, and the usual policies."""
