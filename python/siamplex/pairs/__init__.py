"""From an index to labelled pairs: the split by subject, the pairs within it, the LMDBs."""
