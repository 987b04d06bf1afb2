"""The comparison of arms, read from run folders alone."""
