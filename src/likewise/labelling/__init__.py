"""Labels given by a person at a page on this machine, each on the disk before the next key."""
