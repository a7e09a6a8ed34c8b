"""What the user sees: the dock and the dialogs."""
