"""The command line of verbs that train encoders, or say whether it is worth it."""
