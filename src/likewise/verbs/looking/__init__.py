"""Verbs that show a collection or where its objects are."""
