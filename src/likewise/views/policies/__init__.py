"""Policies of views: the settings, and the usual ones."""
