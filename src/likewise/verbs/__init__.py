"""What a person asks for, one module a verb: the functions behind `likewise.train` and the command line."""
