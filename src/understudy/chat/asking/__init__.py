"""Many requests at once, within a budget: plan, progress, stops, prices."""
