"""What methods that read or listen are made of."""
