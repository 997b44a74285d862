"""What chatsync costs, each line against what people would use instead: `python -m bench --help`."""
