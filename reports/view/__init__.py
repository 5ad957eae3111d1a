"""The parts of the view model: what there is to show of a run, one noun a module."""
