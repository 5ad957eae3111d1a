"""What a report says, computed once: the view model, one noun a module."""
