"""Source algorithms: the reinforcement learners whose histories are distilled."""
