"""From a method's parameters to an optimiser, and what a recipe says for one step."""
