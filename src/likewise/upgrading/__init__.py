"""From one encoder to the next while the vectors of the old one are in use: what it would bring, and the refresh."""
