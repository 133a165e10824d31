"""Whatever can be asked: models, services, rules and controls."""
