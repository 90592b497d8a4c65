"""The company's epics in Jira."""

from functools import partial

from connectors.sandbox.company.work import Epic

TODO, DOING, REVIEW, DONE = "To Do", "In Progress", "In Review", "Done"
LONG = (
    "Bring the delivery date forward in every step of the purchase, from the product page over the basket to "
    "the confirmation, in all nine languages and for pickup points, lockers and the two new carriers as well"
)

shop = partial(Epic, "SHOP")
core = partial(Epic, "CORE")
pay = partial(Epic, "PAY")
service = partial(Epic, "HELP")

SHOP = (
    shop("One-page checkout", DOING, "web initiative", "dev-lead", 120, 1,
         "Fewer steps, fewer lost baskets.", "KR-1", "checkout"),
    shop("Guest checkout without an account", REVIEW, "web", "dev-lead", 95, 3, "", "KR-1", "checkout"),
    shop("Search that forgives typing errors", DOING, "web search initiative", "search-lead", 80, 2,
         "One in six searches finds nothing.", "KR-1", "search"),
    shop("Filters that stay when going back", TODO, "web", "search-lead", 41, 9, "", "KR-1", "search"),
    shop(LONG, DOING, "web delivery initiative", "product-owner", 60, 4,
         "Customers ask for the date more than for the price.\nKey-Result: KR-7", "KR-7", "delivery"),
    shop('Coupons & gift cards: "<script>alert(1)</script>" must stay text', DOING, "web promo", "dev-lead",
         33, 2, "Somebody tried this in the name of a coupon.", "", "promotions"),
    shop("Product pages in under one second", TODO, "web performance kr:KR-1", "web-lead", 150, 12, "",
         "KR-1", "catalogue"),
    shop("Loyalty points, second attempt", TODO, "loyalty initiative", "", 26, 6,
         "The first attempt was stopped a year ago. Points at the checkout are to raise its conversion.", "",
         "promotions"),
    shop("Outfits: show what goes together 🎯", TODO, "web", "product-owner", 18, 5,
         "An idea of the spring fair: outfits raise the conversion at the checkout. To be sized.", "",
         "catalogue"),
    shop("Refunds visible in the account", DOING, "web", "dev-lead", 70, 7, "", "KR-5", "account"),
    shop("Reviews with pictures", DONE, "web", "web-lead", 300, 18, "", "", "catalogue"),
    shop("Address lookup in the basket", DONE, "web", "dev-lead", 340, 160, "", "KR-1", "checkout"),
)  # fmt: skip

CORE = (
    core("Move nightly jobs to spare capacity", DOING, "finops initiative", "platform-lead", 130, 2, "",
         "KR-4", "jobs"),
    core("Archive orders older than two years", TODO, "cost data", "data-lead", 88, 15, "", "KR-4", "data"),
    core("Right-size the recommendation cluster", REVIEW, "finops-compute", "platform-lead", 45, 3, "",
         "KR-4", "compute"),
    core("Patch windows for every database", DOING, "security", "security-lead", 64, 4, "", "KR-9", "data"),
    core("Secrets out of configuration files", DOING, "security", "security-lead", 140, 1, "", "KR-9",
         "compute"),
    core("Last services off the old sign-on", DOING, "identity initiative", "security-lead", 210, 8,
         "What is left after the great move.\n- Key-Result: KR-10", "KR-10", "identity"),
    core("Event bus: rename topics to the new scheme", TODO, "platform", "platform-lead", 22, 6,
         "Asked for by @dev-lead and in #12. Example of the old way:\n```\nKey-Result: KR-4\n```", "",
         "messaging"),
    core("Order service in smaller pieces", DOING, "platform initiative", "dev-lead", 175, 2,
         "One part needs a large machine, so each order costs more in the cloud than it has to.", "",
         "orders"),
    core("Second region for the order database", DONE, "resilience", "data-lead", 355, 95, "", "", "data"),
    core("Contacts per order on one screen", DOING, "insight kr:KR-7", "data-lead", 52, 5, "", "KR-7",
         "data"),
)  # fmt: skip

PAY = (
    pay("Retry failed card payments", DOING, "payments", "pay-lead", 77, 1, "", "KR-3"),
    pay("Second acquirer for card payments", REVIEW, "payments initiative", "pay-lead", 112, 2, "", "KR-3"),
    pay("3-D Secure only where the bank insists", DOING, "payments", "pay-lead", 58, 4, "", "KR-3"),
    pay("Refunds without a person in between", DOING, "backoffice initiative", "pay-lead", 101, 3, "",
        "KR-5"),
    pay("Stored payment methods by network token", TODO, "payments", "", 30, 7, "", "KR-3"),
    pay("Invoices in the new national format", TODO, "legal initiative", "finance-lead", 36, 10,
         "The date is set by law.\nKey-Result: KR-99", ""),
    pay("Card data out of the log files", DOING, "security", "security-lead", 84, 2, "", "KR-9"),
    pay("Instant bank transfer at checkout", DONE, "payments", "pay-lead", 330, 9, "", ""),
)  # fmt: skip

HELP = (
    service("Help centre answers next to the order", DOING, "service", "support-lead", 66, 3, "", "KR-8"),
    service("Chat hours until ten at night", TODO, "service", "support-lead", 28, 8, "", ""),
)  # fmt: skip

EPICS = (*SHOP, *CORE, *PAY, *HELP)

# Smaller work, so that not everything in the tracker is an epic: project, type, title, the parent's title
SMALLER = (
    ("SHOP", "Story", "As a guest I pay without a password", "Guest checkout without an account"),
    ("SHOP", "Story", "Basket and address on one page", "One-page checkout"),
    ("SHOP", "Story", "Payment on the same page", "One-page checkout"),
    ("SHOP", "Sub-task", "Keep the voucher field short", "Payment on the same page"),
    ("SHOP", "Sub-task", "Measure the drop-off of each field", "Payment on the same page"),
    ("SHOP", "Bug", "Basket is empty after sign-in", ""),
    ("SHOP", "Bug", "Price shown without tax on the Swiss site", ""),
    ("SHOP", "Task", "Renew the certificate of the image server", ""),
    ("CORE", "Story", "Pause jobs while prices are high", "Move nightly jobs to spare capacity"),
    ("CORE", "Task", "List services without an owner", "Order service in smaller pieces"),
    ("CORE", "Bug", "Queue depth alarm fires at night", ""),
    ("CORE", "Bug", "Time zone of the export is wrong in winter", ""),
    ("PAY", "Story", "Try the second bank after a soft decline", "Retry failed card payments"),
    ("PAY", "Sub-task", "Map decline codes", "Try the second bank after a soft decline"),
    ("PAY", "Bug", "Receipt lacks the order number", ""),
    ("HELP", "Task", "Where is my parcel?", ""),
    ("HELP", "Task", "Change of delivery address", ""),
    ("HELP", "Bug", "Contact form swallows line breaks", ""),
    ("SHOP", "Story", "Typing errors of one letter", "Search that forgives typing errors"),
    ("SHOP", "Story", "Names of brands", "Search that forgives typing errors"),
    ("SHOP", "Story", "Searches that found nothing, as a list", "Search that forgives typing errors"),
    ("CORE", "Story", "Stop test machines at night", "Move nightly jobs to spare capacity"),
    ("CORE", "Story", "Databases of the shop", "Patch windows for every database"),
    ("CORE", "Story", "Databases of the warehouse", "Patch windows for every database"),
    ("PAY", "Story", "Contract with the second bank", "Second acquirer for card payments"),
    ("PAY", "Story", "Send one payment in ten there", "Second acquirer for card payments"),
)
