"""Draws the pictures of the sample catalog with Pillow alone: products, scenes, damage."""
