"""Verbs that show a collection or locate its objects."""
