"""Speech that comes with images: sound files as log-mel spectrograms, and a composed data set with narration."""
