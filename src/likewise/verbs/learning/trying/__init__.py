"""What `likewise trial` is made of: how an encoder is measured, and what follows from several of them."""
