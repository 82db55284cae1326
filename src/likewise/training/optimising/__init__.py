"""Optimisers of a method's parameters, and a recipe's values for one step."""
