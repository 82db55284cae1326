"""Verbs that train encoders, or say whether it is worth it."""
