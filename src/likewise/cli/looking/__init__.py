"""The command line of verbs that show a collection or locate its objects."""
