"""Parts of the methods that use text or speech."""
