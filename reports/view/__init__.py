"""The view model: what every output shows of a run, computed once, one noun a module."""
