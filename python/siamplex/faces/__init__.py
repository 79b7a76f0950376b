"""An open stand-in corpus: drawn faces in NimStim's layout, for those without NimStim."""
