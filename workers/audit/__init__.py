"""Proof that every alert has one outcome: from the ledger and the labels, and nothing else."""
