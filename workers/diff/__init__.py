"""Where two classifiers, or two runs of one, say different things of the same alerts."""
