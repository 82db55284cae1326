"""The functions behind `likewise.train` and the command line, one module a verb."""
