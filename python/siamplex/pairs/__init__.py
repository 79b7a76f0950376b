"""From an index to a pair store: the split by subject, the labelled pairs within it, the LMDBs."""
