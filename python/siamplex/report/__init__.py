"""One self-contained HTML page about a run: ``content`` gathers what it shows, ``page`` writes it."""
