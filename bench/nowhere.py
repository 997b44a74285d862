"""Download a table with the real client and drop every byte: `nowhere.py PROXY TABLE`."""

import sys

import yt.wrapper
from yt.wrapper.format import SchemafulDsvFormat


def main() -> None:
    """Read as chatsync does, as plain bytes, and do nothing with them."""
    proxy, table = sys.argv[1:]
    config = {"read_retries": {"enable": False}, "proxy": {"accept_encoding": "identity"}, "enable_token": False}
    client = yt.wrapper.YtClient(proxy=proxy, config=config)
    form = SchemafulDsvFormat(columns=["client_id"])
    for _ in client.read_table(table, format=form, raw=True).chunk_iter():
        pass


if __name__ == "__main__":
    main()
