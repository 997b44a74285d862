"""What chatsync costs, compared with what people would use instead: `python -m bench --help`."""
