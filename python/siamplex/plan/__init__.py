"""What a run will do, before it does: the steps Make would take, what they need, and what would be refused.

settings -> pipeline (the commands) -> corpus, checks, costs, durations -> planning -> table
"""
