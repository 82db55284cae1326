"""Monitoring of incoming data: two-sample tests of new features against old ones."""
