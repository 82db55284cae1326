"""The server of an index, and its pages of search results and duplicates."""
