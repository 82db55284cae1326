"""Speech that accompanies images: sound files as log-mel spectrograms, and a synthetic data set with narration."""
