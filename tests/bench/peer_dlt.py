"""A general loader, dlt, that reads the same pages of Jira into the same PostgreSQL and evaluates nothing.

A program for the Python of an environment that has dlt, which `peers` makes. It knows nothing of us.
JSON on standard input names the database, the tracker, the search and a folder; JSON on standard output is
the seconds by the wall's clock and of its processor, its peak of memory, and the rows that it stored.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter, process_time

import dlt
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.auth import HttpBasicAuth
from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator


def main() -> None:
    given = json.load(sys.stdin)
    client = RESTClient(
        base_url=given["url"],
        auth=HttpBasicAuth(given["email"], given["token"]),
        paginator=JSONResponseCursorPaginator(cursor_path="nextPageToken", cursor_body_path="nextPageToken"),
        data_selector="issues",
    )

    pipeline = dlt.pipeline(
        pipeline_name="peer",
        pipelines_dir=given["folder"],
        # It wants a host and a password; libpq takes the socket that the query of the address names.
        destination=dlt.destinations.postgres(given["database"].replace("@/", ":none@localhost/", 1)),
        dataset_name="peer",
    )
    start, cpu = perf_counter(), process_time()
    pages = client.paginate("/rest/api/3/search/jql", method="POST", json=given["search"])
    issues = dlt.resource(pages, name="issues", primary_key="id", write_disposition="append")
    pipeline.run(issues).raise_on_failed_jobs()
    wall, cpu = perf_counter() - start, process_time() - cpu
    with pipeline.sql_client() as database:
        ((rows,),) = database.execute_sql("SELECT count(*) FROM issues")
    sys.stdout.write(json.dumps({"wall": wall, "cpu": cpu, "peak_mib": _peak_mib(), "rows": rows}) + "\n")


def _peak_mib() -> float:
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
