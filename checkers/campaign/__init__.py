"""Checks that apply to every run, whatever its clients did: faults, recovery, final reads."""
