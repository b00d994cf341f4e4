"""Processes that run cases: the protocol, the child's side, one worker, a pool, a Ray cluster, this very process."""
