"""The command line of verbs that show a collection or where its objects are."""
