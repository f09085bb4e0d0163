"""A program for `[reward.command]` that runs the query that a completion ends in on the row's own database, with sqlite3.

The row has `schema`, a script that makes the tables and fills them, and `sql`, a right query. A completion's query is what stands in its last block of code,
or behind its last `####`, or all of it. Tests, whose shares are logged:

* is_executable: it comes to rows, in time;
* is_right: the same rows as the right query; in its order where that has an ORDER BY.

Each query has a database of its own in memory, in a process without network and files (confined.py). PRAGMA and ATTACH are refused.
"""

import re
import secrets

import confined
import lines

HARNESS = """
import json, sqlite3, sys
def run(schema, query):
    base = sqlite3.connect(":memory:")
    base.executescript(schema)
    refused = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA}
    base.set_authorizer(lambda action, *_: sqlite3.SQLITE_DENY if action in refused else sqlite3.SQLITE_OK)
    return [[repr(value) for value in row] for row in base.execute(query).fetchmany(10000)]
def main(word, schema, query):
    print("\\n" + word + json.dumps(run(schema, query)))
"""


def query_of(completion):
    blocks = re.findall(r"```(?:sql)?\n(.*?)```", completion, re.DOTALL)
    text = blocks[-1] if blocks else completion.rsplit("####", 1)[-1]
    return text.strip().rstrip(";")


def rows_of(schema, query):
    word = secrets.token_hex(16)
    out, ended = confined.run(f"{HARNESS}\nmain({word!r}, {schema!r}, {query!r})", most=1 << 20)
    rows = confined.signed(out, word) if ended else None
    return rows if isinstance(rows, list) else None


def verdict(completion, schema, gold):
    right = rows_of(schema, gold)
    if right is None:
        raise ValueError(f"the row's own query cannot be run: {gold}")
    found = rows_of(schema, query_of(completion))
    ordered = re.search(r"\border\s+by\b", gold, re.IGNORECASE)
    same = found is not None and (found == right if ordered else sorted(found) == sorted(right))
    return {"is_executable": found is not None, "is_right": same}


def main():
    lines.answer(lambda asked: verdict(asked["completion"], asked["fields"]["schema"], asked["fields"]["sql"]))


if __name__ == "__main__":
    main()
