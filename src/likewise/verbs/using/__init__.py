"""Verbs that embed, search, serve and upgrade."""
