"""Trainers at arm's length: what each one needs beside its data files. A trainer is imported only when it is run."""
