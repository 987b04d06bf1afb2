"""What teachers are asked for: answers, translations, ratings and new instructions."""
