"""Titles of key results: which name an output, and which an outcome.

Of the first table the words were chosen; the second was written before and looked at afterwards alone. What
they give is stated: of the titles with a hint how many name an output (precision), and of those that name an
output how many have one (recall).
"""

from __future__ import annotations

import pytest

from mappings.goals.lint import output_hint

OUTPUTS = """
    Launch the new app
    Migrate 40 services
    Release v2
    Deliver feature X
    Build a data warehouse
    Implement single sign-on
    Roll out the new CRM to all branches
    Introduce a design system
    Complete the migration to Kubernetes
    Finish 80% of the rewrite
    Deliver 100% of the roadmap
    Write documentation for all public APIs
    Set up monitoring for every team
    We will ship the mobile checkout
    Refactor the billing module
    Replace the old ERP
    Hold 12 customer workshops
    Hire 5 engineers
    New website launched
    All teams onboarded to the platform
    Go-live of the partner portal
    MVP in production
    Rollout of the new price engine
    Migrate from Oracle to PostgreSQL
    Publish 10 blog posts
    Q4: deliver the loyalty programme
    Integrate the payment provider
    Upgrade to Java 21
    Einführung des neuen CRM
    Neue App launchen
    Migration von 40 Diensten in die Cloud
    Das Kundenportal fertigstellen
    Rollout des Kassensystems in allen Filialen
    Datenplattform aufbauen
    Feature X ausliefern
    Neues ERP eingeführt
    Abschluss der Umstellung auf S/4HANA
    10 Schulungen durchführen
    API-Dokumentation erstellen
    Wir führen ein neues Ticketsystem ein
    Umsetzung der Roadmap
    Single Sign-on implementieren
    Version 2.0 veröffentlichen
"""
OUTCOMES = """
    Checkout conversion from 2.4 to 3.2 %
    Orders from the app from 18,000 to 26,000 a week
    Card payments accepted at first try from 91 to 95 %
    Cloud cost from 0.42 to 0.30 EUR an order
    Refunds handled by hand from 340 to 100 a week
    App store rating from 4.1 to 4.5
    Support contacts from 38 to 25 per 1,000 orders
    Critical findings older than 30 days from 27 to 0
    Increase weekly active users by 20%
    Reduce build time to under 10 minutes
    Build time below 10 minutes
    Release frequency from monthly to daily
    Fewer carts left behind
    Launch day conversion above 5%
    Customers find answers without calling us
    Churn below 2 % a month
    90% of invoices are paid within 14 days
    Delivery time halved
    Design system used by 8 of 10 teams
    Net promoter score of 45
    Deploy 10 times a day
    Migrate customers so that support cost falls from 12 to 8 EUR
    Feature adoption among new customers reaches 40%
    No outage longer than 10 minutes
    Double the revenue of the partner channel
    More visitors of the checkout pay
    Conversion der Kasse von 2,4 auf 3,2 %
    Wartezeit an der Hotline unter 60 Sekunden senken
    Kosten je Bestellung um 15% reduzieren
    Weniger Retouren wegen falscher Größe
    Lieferzeit von 5 auf 3 Tage
    Kundenzufriedenheit steigern
    Mindestens 70% der Anträge ohne Rückfrage
    Anteil der digitalen Anträge auf 60 % erhöhen
    Umsatz mit Bestandskunden wächst um 10%
    Neue Mitarbeiter sind nach 5 Tagen arbeitsfähig
    Migration ohne Ausfall: höchstens 5 Minuten Stillstand
    Ausfälle der Kasse halbieren
"""
UNSEEN_OUTPUTS = """
    Develop a customer data platform
    Create onboarding videos
    Deploy the fraud model
    Move all workloads to Azure
    Establish a community of practice
    Decommission the mainframe
    Test automation framework implemented
    Run a pilot with three retailers
    Launch in 3 new countries
    Add dark mode
    Start the beta programme
    Data lake available
    Neues Intranet live schalten
    Entwicklung einer Self-Service-Plattform
    Altsystem abschalten
    Konzept für die Preisstrategie erarbeiten
    Onboarding-Prozess neu gestalten
    Alle Filialen an das neue Lager anbinden
"""
UNSEEN_OUTCOMES = """
    Time to first value down to two days
    Lead time for changes drops below one day
    Share of repeat buyers grows to 35%
    Test suite finishes in 5 minutes
    Every customer gets an answer the same day
    Employee turnover at most 8%
    Loyalty members spend 12% more
    Error rate of the import under 0.1%
    Self-service share up 15 points
    Sales cycle shortened by two weeks
    Customers recommend us
    Erstlösungsquote im Service bei 80%
    Stornoquote sinkt auf 3 %
    Bearbeitungszeit je Schaden halbiert
    Neukunden kaufen innerhalb von 60 Tagen erneut
    Ausschuss in der Fertigung unter 1 Prozent
    Mehr Bewerbungen von Frauen
    Verfügbarkeit der Plattform 99,95 %
"""


def titles(table: str) -> list[str]:
    return [line.strip() for line in table.strip().splitlines()]


def rates(outputs: str, outcomes: str) -> tuple[float, float, list[str]]:
    found = [title for title in titles(outputs) if output_hint(title) is not None]
    wrong = [title for title in titles(outcomes) if output_hint(title) is not None]
    missed = [title for title in titles(outputs) if title not in found]
    return len(found) / (len(found) + len(wrong)), len(found) / len(titles(outputs)), [*wrong, *missed]


def test_hints_on_the_titles_that_the_words_were_chosen_by() -> None:
    assert rates(OUTPUTS, OUTCOMES) == (1.0, 1.0, [])


def test_hints_on_titles_that_they_were_not_chosen_by() -> None:
    assert rates(UNSEEN_OUTPUTS, UNSEEN_OUTCOMES) == (18 / 19, 1.0, ["Test suite finishes in 5 minutes"])


@pytest.mark.parametrize(
    ("title", "advice"),
    [
        ("Launch the new app", "the share that uses it"),
        ("Neue App launchen", "the share that uses it"),
        ("Migrate 40 services", "what the old state costs"),
        ("Hold 12 workshops", "for those it is made for"),
    ],
)
def test_a_hint_says_what_to_name_instead(title: str, advice: str) -> None:
    assert advice in (output_hint(title) or "")


@pytest.mark.parametrize("title", ["", "!" * 500, "we " * 160, "from 1" * 80, "a" * 500, "\u202eLaunch"])
def test_any_title_is_answered(title: str) -> None:
    output_hint(title)
