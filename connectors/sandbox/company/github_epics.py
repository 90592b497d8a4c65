"""The company's epics on GitHub."""

from functools import partial

from connectors.sandbox.company.work import Epic

OPEN, CLOSED, DROPPED = "open", "closed", "not_planned"

mobile = partial(Epic, "acme/mobile")
platform = partial(Epic, "acme/platform")
docs = partial(Epic, "acme/docs")

MOBILE = (
    mobile("Reorder in two taps", OPEN, "epic orders initiative", "mobile-lead", 90, 1,
         "The last five orders on the start screen.", "KR-2", "Autumn release"),
    mobile("Push when a watched item is back", OPEN, "epic push-messages", "mobile-lead", 72, 2, "", "KR-2",
         "Autumn release"),
    mobile("Offline basket", OPEN, "epic orders", "android-lead", 55, 3, "", "KR-2", "Autumn release"),
    mobile("Crash-free sessions above 99.7 %", OPEN, "epic quality initiative", "android-lead", 140, 2, "",
         "KR-6"),
    mobile("Screen reader support in all lists", OPEN, "epic a11y", "ios-lead", 63, 5, "", "KR-6"),
    mobile("Start in under two seconds on old phones", OPEN, "epic quality", "ios-lead", 48, 4, "", "KR-6",
         "Autumn release"),
    mobile("Dark theme 🌙", OPEN, "epic design", "ios-lead", 35, 7,
         "The most asked-for thing in the reviews.\n\n- [x] colours\n- [ ] pictures\n", ""),
    mobile("Augmented reality: try the sofa in your room", OPEN, "epic idea initiative", "", 24, 11,
         "> A slide from the strategy day.\n\nNo owner yet.", ""),
    mobile("Order tracking without calling us", OPEN, "epic", "mobile-lead", 81, 3,
         "Live position of the parcel.\n\nKey-Result: KR-7, KR-6\n", "KR-7", "Autumn release"),
    mobile("Tablet layout", DROPPED, "epic design", "ios-lead", 290, 170, "", ""),
    mobile("Sign in with a passkey", CLOSED, "epic security", "android-lead", 310, 14, "", "KR-9"),
    mobile("Pay with the phone's wallet", CLOSED, "epic orders", "mobile-lead", 345, 150, "", "KR-2"),
)  # fmt: skip

PLATFORM = (
    platform("Build images on spot machines", OPEN, "epic", "platform-lead", 68, 2, "", "KR-4",
         "Leaner platform"),
    platform("Log sampling for chatty services", OPEN, "epic observability", "sre-lead", 43, 4,
         "Nine lines in ten are never read.", ""),
    platform("Storage classes by age of data", OPEN, "epic cost", "data-lead", 105, 6, "", "KR-4",
         "Leaner platform"),
    platform("Dependency updates every week, by machine", OPEN, "epic security initiative", "security-lead",
         86, 1, "", "KR-9"),
    platform("Signed images only", OPEN, "epic security", "security-lead", 59, 5, "", "KR-9"),
    platform("Shut down the old sign-on servers", OPEN, "epic kr:KR-10", "sre-lead", 190, 9,
         "Forty of forty services are off it.", "KR-10"),
    platform("Developer portal: see acme/docs#1, ask @platform-lead", OPEN, "epic devex", "platform-lead",
         38, 8, "```\nKey-Result: KR-8\n```\nThe template above is for the tickets of the portal.", ""),
    platform("Chaos day, once a month", OPEN, "epic resilience kr:KR-9", "sre-lead", 50, 6, "", "KR-9"),
    platform("Refund service on the event bus", OPEN, "epic", "pay-lead", 75, 3, "", "KR-5"),
    platform("Kernel 6 everywhere", CLOSED, "epic", "sre-lead", 320, 140, "", ""),
    platform("Tracing through the queues", CLOSED, "epic observability", "sre-lead", 280, 25, "", ""),
)  # fmt: skip

DOCS = (
    docs("Search that finds the answer first", OPEN, "epic search", "docs-lead", 57, 2, "", "KR-8",
         "Help centre, second edition"),
    docs("Help centre in nine languages", OPEN, "epic initiative", "docs-lead", 92, 4, "", "KR-8",
         "Help centre, second edition"),
    docs("Answers from support tickets become articles", OPEN, "epic", "support-lead", 46, 3,
         "Every tenth ticket is a missing article.\n\nKey-Result: KR-7\n", "KR-7"),
    docs("Style guide & **tone** of voice [draft](https://example.com)", OPEN, "epic writing", "docs-lead",
         31, 9, "What we say, and how.", ""),
    docs("Old wiki, read-only", CLOSED, "epic", "docs-lead", 260, 120, "", ""),
)  # fmt: skip

EPICS = (*MOBILE, *PLATFORM, *DOCS)

# Epics that are parts of another of the same repository, by title.
PARENTS = {
    "Start in under two seconds on old phones": "Crash-free sessions above 99.7 %",
    "Signed images only": "Dependency updates every week, by machine",
    "Search that finds the answer first": "Help centre in nine languages",
    "Answers from support tickets become articles": "Help centre in nine languages",
}

# repository, title, labels, kind (issue, task of an epic, pull request), the epic's title
SMALLER = (
    ("acme/mobile", "Keep the last five orders on the device", "orders", "task", "Reorder in two taps"),
    ("acme/mobile", "Button with the total of the last order", "orders", "task", "Reorder in two taps"),
    (
        "acme/mobile",
        "Crash when the keyboard opens on Android 9",
        "bug",
        "task",
        "Crash-free sessions above 99.7 %",
    ),
    ("acme/mobile", "Crash on returning from the camera", "bug", "task", "Crash-free sessions above 99.7 %"),
    ("acme/mobile", "Typo in the imprint", "", "issue", ""),
    ("acme/mobile", "Reorder: local store", "orders", "pull", ""),
    ("acme/mobile", "Bump the build tools", "dependencies", "pull", ""),
    ("acme/platform", "Spot machines: drain before they go", "", "task", "Build images on spot machines"),
    ("acme/platform", "Alert rules have no owner", "observability", "issue", ""),
    ("acme/platform", "Flaky test in the deployer", "bug", "issue", ""),
    # A pull request with the label is not an epic.
    ("acme/platform", "Epic rename of all topics", "epic", "pull", ""),
    ("acme/platform", "Sample debug logs", "", "pull", ""),
    ("acme/docs", "Broken link on the returns page", "bug", "issue", ""),
    ("acme/docs", "Picture of the new box", "", "issue", ""),
    ("acme/docs", "Fix the broken link", "", "pull", ""),
    ("acme/mobile", "Ask before ordering again", "orders", "task", "Reorder in two taps"),
    (
        "acme/docs",
        "Rank answers by what was read to the end",
        "search",
        "task",
        "Search that finds the answer first",
    ),
    ("acme/docs", "Synonyms from the search log", "search", "task", "Search that finds the answer first"),
)
