"""What the methods of CMSF are made of."""
