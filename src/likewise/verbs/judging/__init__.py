"""Verbs that score, test and compare encoders."""
