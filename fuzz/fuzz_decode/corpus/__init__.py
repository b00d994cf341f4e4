"""Findings on disk: entries, reading files that nobody vouches for, writing, the ledger of known failures, merging."""
