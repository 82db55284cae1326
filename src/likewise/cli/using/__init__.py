"""The command line of verbs that embed, search, serve and upgrade."""
