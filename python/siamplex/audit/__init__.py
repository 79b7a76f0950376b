"""Holding a run against the paper, setting by setting, by what its files say.

``run_files`` finds the artefacts; ``*_checks`` read the truth from them, one subject each;
``audit`` puts the findings together; ``tables`` prints them.
"""
