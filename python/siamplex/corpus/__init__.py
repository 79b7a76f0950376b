"""Face sets: file naming, choice of emotions, cropping, duplicates, and the index of a corpus."""
