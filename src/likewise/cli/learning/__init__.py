"""The command line of verbs that train encoders, or prepare and plan their training."""
