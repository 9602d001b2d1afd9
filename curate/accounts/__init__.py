"""Accounts of what was kept, what was dropped and why: one sample, a whole selection, two side by side."""
