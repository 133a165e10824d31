"""Our models and our BABILong in the lm-evaluation-harness of EleutherAI (extra `lm-eval`)."""
