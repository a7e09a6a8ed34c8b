"""What threads have to tell, as Qt signals in the GUI thread."""
