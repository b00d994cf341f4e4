"""Hypothesised faults, a file for each part of the access model that they change."""
