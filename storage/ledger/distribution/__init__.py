"""Traffic distribution: what an offer's clicks are worth, which share each offer gets, and what that has won."""
