"""HTTP before and around the routes: bounds, origins, refusals, headers."""
