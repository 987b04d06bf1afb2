"""Objectives, schedules and Lightning modules."""
