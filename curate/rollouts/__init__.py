"""Rollouts: queries in, k responses each and how many of them are right."""
