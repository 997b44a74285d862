"""The comparison of list and export as one statement of ClickHouse, whose answer has only the differences. Pure.

The list becomes a bitmap, and so does each shard, and no table is joined: the memory is bounded (512 MiB for all 2^32
clients) and duplicates count once. A column is renamed (`cs_…`) before anything is computed from it: if a column has
the name of an alias, such as `id` or `code`, ClickHouse uses the alias instead, without an error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Why a cell of the list is not a client id, by the code in the answer; the words are those of exclusions.client_ids.
REASONS = ("", "null", "zero", "negative", "too large", "fraction", "not an integer")
LIST, EXPORT, SUMMARY, PRESENT, TURN_OFF, TURN_ON = "list", "export", "summary", "present", "turn_off", "turn_on"
# The numbers of an `export` row, in this order.
BROKEN, OURS, OFF, DIFFERENT = range(4)

_SAMPLES = 20
_STRING = frozenset({"string", "utf8"})
_NONE = "CAST([] AS Array(Tuple(UInt8, String)))"
_EMPTY = "bitmapAndnot(listed, listed)"


@dataclass(frozen=True, kw_only=True)
class Sides:
    """What is compared: the tables with the types of their columns.

    `tables` has the paths of the export's tables by shard; with `shard_column` there is one for all of them.
    """

    list_path: str
    list_column: str
    list_kind: str
    tables: Mapping[int, str]
    columns: Sequence[str]
    kinds: Sequence[str]
    shard_column: str = ""
    feature_id: int
    must_contain: Sequence[int] = ()
    is_trial: bool = False

    @property
    def end(self) -> str:
        """The end of what reads a table: a trial reads no row, but needs every permission, column and type."""
        return " WHERE 0" if self.is_trial else ""


def statement(sides: Sides) -> str:
    """Return the statement. A row of its answer: kind, shard, row_count, numbers, samples, a bitmap in hex."""
    must = f"bitmapBuild(CAST([{', '.join(map(str, sides.must_contain))}] AS Array(UInt64)))"
    return f"""SELECT r.1 AS kind, r.2 AS shard, r.3 AS row_count, r.4 AS numbers, r.5 AS samples, hex(r.6) AS data
FROM (SELECT arrayJoin(arrayConcat(
    arrayMap(x -> (x.1, x.2, x.3, x.4, x.5, {_EMPTY}), sides),
    [('{SUMMARY}', toInt64(0), bitmapCardinality(listed),
        arrayConcat(
            [bitmapCardinality(off), bitmapAndnotCardinality(listed, off), bitmapAndCardinality(listed, {must})],
            arrayFlatten(arrayMap(x -> [toUInt64(x.1), bitmapCardinality(x.2), bitmapAndnotCardinality(x.2, listed)],
                shards))),
        {_NONE}, {_EMPTY}),
     ('{PRESENT}', toInt64(0), bitmapAndCardinality(listed, {must}), [toUInt64(0)], {_NONE}, bitmapAnd(listed, {must})),
     ('{TURN_OFF}', toInt64(0), bitmapAndnotCardinality(listed, off), [toUInt64(0)], {_NONE},
        bitmapAndnot(listed, off))],
    arrayMap(x -> ('{TURN_ON}', x.1, bitmapAndnotCardinality(x.2, listed), [toUInt64(0)], {_NONE},
        bitmapAndnot(x.2, listed)), shards))) AS r
  FROM (SELECT groupBitmapMergeStateIf(ids, side = 0) AS listed, groupBitmapMergeStateIf(ids, side = 1) AS off,
      groupArrayIf((shard, ids), side = 1) AS shards,
      groupArray((if(side = 0, '{LIST}', '{EXPORT}'), shard, row_count, numbers, samples)) AS sides
    FROM (
{_list_side(sides)}
UNION ALL
{_export_side(sides)})))"""


def _list_side(sides: Sides) -> str:
    code, number = _string_id("cs_cell") if sides.list_kind in _STRING else _integer_id("cs_cell")
    reasons = ", ".join(f"countIf(cs_code = {code})" for code in range(1, len(REASONS)))
    return f"""SELECT toUInt32(0) AS side, toInt64(0) AS shard, count() AS row_count, [{reasons}] AS numbers,
    groupArrayIf({_SAMPLES})((cs_code, cs_shown), cs_code != 0) AS samples,
    groupBitmapStateIf(cs_id, cs_code = 0) AS ids
FROM (SELECT toUInt8({code}) AS cs_code, {number} AS cs_id,
    if(cs_code = 0, '', substringUTF8(toValidUTF8(ifNull(toString(cs_cell), 'None')), 1, 61)) AS cs_shown
  FROM (SELECT {_name(sides.list_column)} AS cs_cell FROM {_name(sides.list_path)}{sides.end}))"""


def _integer_id(cell: str) -> tuple[str, str]:
    code = f"multiIf({cell} IS NULL, 1, {cell} = 0, 2, {cell} < 0, 3, {cell} > 9223372036854775807, 4, 0)"
    return code, f"toUInt64(assumeNotNull({cell}))"


def _string_id(cell: str) -> tuple[str, str]:
    """Recognise numbers as exclusions.client_ids does: up to 40 digits, with leading zeros."""
    text = f"ifNull({cell}, '')"
    short = f"replaceRegexpOne({text}, '^0+', '')"
    large = f"length({short}) > 19 OR (length({short}) = 19 AND {short} > '9223372036854775807')"
    code = (
        f"multiIf({text} = '', 1, match({text}, '^[0-9]{{1,40}}$'), multiIf({short} = '', 2, {large}, 4, 0), "
        f"match({text}, '^[0-9]+$'), 4, match({text}, '^-[0-9]+$'), 3, match({text}, '^[0-9]+[.][0-9]+$'), 5, 6)"
    )
    return code, f"toUInt64OrZero({short})"


def _export_side(sides: Sides) -> str:
    client, feature, enabled = (_name(column) for column in sides.columns[:3])
    shard = f", {_name(sides.shard_column)} AS cs_shard_cell" if sides.shard_column else ", `$table_index` AS cs_place"
    return f"""SELECT toUInt32(1) AS side, cs_shard AS shard, count() AS row_count,
    [countIf(cs_broken), countIf(cs_ours), countIf(cs_off), groupBitmapIf(cs_id, cs_ours)] AS numbers,
    {_NONE} AS samples, groupBitmapStateIf(cs_id, cs_off) AS ids
FROM (SELECT cs_shard, ifNull(cs_feature = {sides.feature_id}, 0) AS cs_ours,
    cs_ours AND cs_flag = 0 AND cs_in_range AS cs_off,
    NOT cs_in_range OR ifNull(cs_feature < 0, 1) OR (cs_ours AND cs_flag = -1) AS cs_broken,
    toUInt64(if(cs_in_range, assumeNotNull(cs_client), 0)) AS cs_id
  FROM (SELECT {_shard(sides)} AS cs_shard, {_number("cs_client_cell", sides.kinds[0])} AS cs_client,
      {_number("cs_feature_cell", sides.kinds[1])} AS cs_feature, {_flag("cs_enabled_cell", sides.kinds[2])} AS cs_flag,
      ifNull(cs_client >= 0 AND cs_client <= 4294967295, 0) AS cs_in_range
    FROM (SELECT {client} AS cs_client_cell, {feature} AS cs_feature_cell, {enabled} AS cs_enabled_cell{shard}
      FROM {_tables(sides)}{sides.end})))
GROUP BY cs_shard"""


def _shard(sides: Sides) -> str:
    if sides.shard_column:
        return f"ifNull(toInt64({_number('cs_shard_cell', sides.kinds[3])}), -1)"
    places = ", ".join(map(str, range(len(sides.tables))))
    shards = ", ".join(f"toInt64({shard})" for shard in sides.tables)
    return f"transform(toInt64(cs_place), [{places}], [{shards}], toInt64(-1))"


def _tables(sides: Sides) -> str:
    if sides.shard_column:
        return _name(next(iter(sides.tables.values())))
    return f"concatYtTables({', '.join(map(_text, sides.tables.values()))})"


def _number(cell: str, kind: str) -> str:
    """Read a number that may be a string of up to 18 digits; NULL for any other."""
    if kind not in _STRING:
        return cell
    return f"if(match(ifNull({cell}, ''), '^0*[0-9]{{1,18}}$'), toInt64OrNull({cell}), NULL)"


def _flag(cell: str, kind: str) -> str:
    """Read on (1) and off (0); -1 is neither."""
    if kind in _STRING:
        text = f"lower(ifNull({cell}, ''))"
        return f"multiIf({text} IN ('0', 'false'), 0, {text} IN ('1', 'true'), 1, -1)"
    return f"multiIf({cell} IS NULL, -1, {cell} = 0, 0, {cell} = 1, 1, -1)"


def _name(name: str) -> str:
    """Quote a path or the name of a column."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
