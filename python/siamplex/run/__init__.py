"""What all commands share: the run record, step stamps, crash-safe files, signals, progress."""
