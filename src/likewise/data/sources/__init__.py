"""The kinds of places that pictures come from, one module each; `opening` chooses among them."""
