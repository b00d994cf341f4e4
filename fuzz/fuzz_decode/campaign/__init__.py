"""Campaigns: draw, run, judge, save, minimize, store; and what happens to stored cases later: replay, minimize, triage."""
