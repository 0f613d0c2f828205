"""Rules: what is cleaned from a log without a model, such as duplicates, machines and returned items.

Come here if you want to know which interactions a rule takes, or to add a rule. Each rule has a module of its own.
Rules run before scoring. A row that a rule takes is no evidence for other rows, neither in training nor in scoring.
"""
