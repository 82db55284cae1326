"""Where vectors lie: a folder of this machine, a PostgreSQL or a Qdrant server, behind one protocol."""
