"""Is an encoder like people, and where does it break: distorted images, decisions among 16 categories, consistency."""
