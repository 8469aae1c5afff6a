"""Values of the runner as HTML. Pure functions; everything a Space wrote passes `text.escape`."""
