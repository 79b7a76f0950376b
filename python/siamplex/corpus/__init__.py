"""Face sets: how files are named in each, which emotions are taken, how pictures are framed, which are the same."""
