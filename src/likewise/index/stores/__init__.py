"""Stores of vectors: a folder of this machine, a PostgreSQL or a Qdrant server, behind one protocol."""
