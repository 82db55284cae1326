"""Verbs that write encoders for other programs, read those of others, and clean up."""
