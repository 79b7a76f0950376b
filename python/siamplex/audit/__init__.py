"""The audit: compares a run with the paper, setting by setting, from the run's files.

``run_files`` finds the files; each ``*_checks`` module reads one group of settings from them; ``audit`` collects the
findings; ``tables`` prints them.
"""
