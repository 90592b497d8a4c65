"""Serves one simulated tracker from the command line, for a benchmark or to try it out.

`python -m connectors.sandbox jira --epics 10000` prints one line of JSON: the address and the credentials.
With `--latency 50` each API answer takes 50 milliseconds longer. The webhook is set over HTTP, see
`controls`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
from typing import TYPE_CHECKING

from connectors.sandbox.company import github_host, jira_site
from connectors.sandbox.company.bulk import add_epics, add_issues
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve

if TYPE_CHECKING:
    from connectors.sandbox.tracker import Tracker

REPOSITORY = "acme/crowd"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m connectors.sandbox", description="Serve a simulated tracker."
    )
    parser.add_argument("kind", choices=["jira", "github"])
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument(
        "--epics",
        type=int,
        help=f"serve one project (CROWD or {REPOSITORY}) with this many epics, not the invented company",
    )
    parser.add_argument(
        "--latency", type=float, default=0, metavar="MS", help="milliseconds before each answer of the API"
    )
    arguments = parser.parse_args()
    if not 0 <= arguments.latency < math.inf:
        parser.error("--latency is a number of milliseconds, 0 or more")
    tracker, access = _tracker(arguments.kind, arguments.epics)
    tracker.latency = arguments.latency / 1000
    try:
        asyncio.run(_serve(tracker, arguments.port, access))
    except KeyboardInterrupt:
        sys.exit(0)


def _tracker(kind: str, epics: int | None) -> tuple[Tracker, dict[str, str]]:
    if kind == "github":
        host = github_host() if epics is None else GitHubHost()
        if epics is not None:
            add_issues(host, REPOSITORY, epics)
        return GitHubTracker(host), {"token": host.bot.token}
    if epics is None:
        site = jira_site()
    else:
        site = JiraSite()
        add_epics(site, "CROWD", epics)
    return JiraTracker(site), {"email": site.bot.email, "token": site.bot.token}


async def _serve(tracker: Tracker, port: int, access: dict[str, str]) -> None:
    async with serve(tracker, port) as url:
        sys.stdout.write(json.dumps({"url": url, **access}) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
