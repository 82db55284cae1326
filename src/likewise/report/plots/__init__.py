"""Charts as inline SVG and HTML."""
