"""The kinds of sources of images, one module each; `opening` chooses among them."""
