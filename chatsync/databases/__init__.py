"""The databases, an outside system: everything that speaks SQL."""
