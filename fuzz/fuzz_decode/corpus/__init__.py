"""Findings on disk: entries, reading untrusted files, writing, the ledger of known failures, merging."""
