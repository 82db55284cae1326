"""Embeds a data set into an index or a file, as a stream that continues where it was interrupted."""
