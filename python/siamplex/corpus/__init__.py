"""Face corpora: which files there are, of whom, showing what."""
