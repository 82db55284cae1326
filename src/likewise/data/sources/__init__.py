"""The kinds of places that images come from, one module each; `opening` chooses among them."""
