"""The texts that ask for something other than an answer: a rating, a translation, a review."""
