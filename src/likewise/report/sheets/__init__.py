"""Pages of images to look through: one file each that opens offline."""
