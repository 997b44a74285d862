"""Download a list with the real client and discard every byte: `nowhere.py PROXY TABLE`; also tables of an export."""

import sys

import yt.wrapper
from yt.wrapper.format import SchemafulDsvFormat, SkiffFormat

EXPORT = (("ClientID", "uint64"), ("feature_id", "uint64"), ("is_enabled", "int64"))


def main() -> None:
    """Read as chatsync does, as plain bytes, and do nothing with them."""
    proxy, table, *exported = sys.argv[1:]
    config = {"read_retries": {"enable": False}, "proxy": {"accept_encoding": "identity"}, "enable_token": False}
    client = yt.wrapper.YtClient(proxy=proxy, config=config)
    form = SchemafulDsvFormat(columns=["client_id"])
    for _ in client.read_table(table, format=form, raw=True).chunk_iter():
        pass
    columns = [
        {"name": name, "wire_type": "variant8", "children": [{"wire_type": "nothing"}, {"wire_type": kind}]}
        for name, kind in EXPORT
    ]
    skiff = SkiffFormat(schemas=[{"wire_type": "tuple", "children": columns}])
    for one in exported:
        for _ in client.read_table(one, format=skiff, raw=True).chunk_iter():
            pass


if __name__ == "__main__":
    main()
