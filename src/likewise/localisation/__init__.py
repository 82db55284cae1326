"""Localisation of objects in images by a trained encoder, without labels."""
