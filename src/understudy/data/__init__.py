"""Sources of answers, question sets, and the training windows made of them."""
