"""Collecting: thousands of learners at once, and what they lived through as shards on disk.

`learn_online` lets learners learn and keeps what happened; everything else here is built on it.
`collect` fills a run's history folder, `choose_source_settings` finds the source's best settings on
validation tasks, and `source_rollout` scores a source that starts from scratch on given tasks.
"""

from adbench.collect.choose import choose_source_settings
from adbench.collect.learn import Expert, Learning, learn_online
from adbench.collect.ledger import expert_threshold
from adbench.collect.plan import ShardPlan, plan_shards
from adbench.collect.score import source_rollout
from adbench.collect.shards import check_frames, collect, collect_shard, missing_shards

__all__ = [
    "Expert",
    "Learning",
    "ShardPlan",
    "check_frames",
    "choose_source_settings",
    "collect",
    "collect_shard",
    "expert_threshold",
    "learn_online",
    "missing_shards",
    "plan_shards",
    "source_rollout",
]
