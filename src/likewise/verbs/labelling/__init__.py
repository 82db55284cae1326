"""Verbs that choose images to label, take labels, and give classes."""
