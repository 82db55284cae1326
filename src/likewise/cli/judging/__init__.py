"""The command line of verbs that score, test and compare encoders."""
