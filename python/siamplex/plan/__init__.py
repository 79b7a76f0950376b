"""The plan of a run, made before it starts: the steps Make would take, their costs, and what would be refused.

settings -> pipeline (the commands) -> corpus, checks, costs, durations -> planning -> table
"""
