"""The page: how things stand, in one HTML file that is whole in itself, for people without a shell."""
