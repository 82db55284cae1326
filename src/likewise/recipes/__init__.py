"""Recipes of several runs, each of which begins where the one before has ended."""
