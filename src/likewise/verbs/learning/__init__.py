"""Verbs that train encoders, or prepare and plan their training."""
