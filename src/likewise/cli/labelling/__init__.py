"""The command line of verbs that choose images to label, take labels, and give classes."""
