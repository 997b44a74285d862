"""The page: the state of the job in one HTML file that needs no other file, for people without a shell."""
