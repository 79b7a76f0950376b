"""What is common to all commands of a run: its record, its steps, files that survive a crash, signals, progress."""
