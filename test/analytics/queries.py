"""Runs the SQL that it is given, and prints what comes back, for analytics_test.go.

queries.py duckdb|clickhouse < statements, as a JSON array: each statement's rows are a JSON array on a line.
"""
import json
import sys


def duckdb_rows(statements):
    import duckdb

    db = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    db.execute("SET TimeZone = 'UTC'")
    for statement in statements:
        yield db.execute(statement).fetchall()


def clickhouse_rows(statements):
    from chdb import session

    db = session.Session()
    for statement in statements:
        text = str(db.query(statement, "JSONCompactEachRow"))
        yield [json.loads(line) for line in text.splitlines()]


engines = {"duckdb": duckdb_rows, "clickhouse": clickhouse_rows}
for rows in engines[sys.argv[1]](json.load(sys.stdin)):
    print(json.dumps(rows, default=str, ensure_ascii=False))
