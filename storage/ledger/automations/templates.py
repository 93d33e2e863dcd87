"""The ten usual automations, with their numbers and where those come from."""

import msgspec


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A usual automation: its rule, what else is set, and why its numbers are what they are."""

    name: str
    title: str
    rule: str
    why: str
    most: int = 10
    cooldown: str = "1d"
    schedule: str = ""


TEMPLATES: tuple[Template, ...] = (
    Template(
        name="placement-no-result", title="A placement spends and brings nothing",
        rule="block placement when spend > 300% of payout and ftd = 0 over 7d", most=20,
        why="A good placement spends 3 payouts without one FTD in 5% of windows; at 1.4 in 25%, at 5 in 1%.",
    ),
    Template(
        name="placement-too-dear", title="A placement is too dear",
        rule="block placement when spend > 500% of payout and cpa > 120% of payout over 14d with ftd >= 5", most=20,
        why="Five FTDs say enough of what one costs; below a fifth over target it is noise.",
    ),
    Template(
        name="stop-loss", title="Stop a campaign that loses",
        rule="pause campaign when roas <= 1 over 7d with spend > 100",
        why="The days are those the platforms have settled: with the running day, spend is there and revenue is not.",
    ),
    Template(
        name="daily-loss", title="Stop a campaign for the day",
        rule="pause campaign until midnight when spend > 300% of payout and registrations = 0 today",
        why="A day's spend of 3 payouts without a registration; it runs again at midnight.",
    ),
    Template(
        name="dead-creative", title="A creative (sub2) without a registration",
        rule="block sub2 when registrations = 0 over 14d with clicks > 2000",
        why="Where the source sends its creative as sub2; change the sub id to the one that it uses.",
    ),
    Template(
        name="bring-back", title="Bring back what late results redeem",
        rule="resume campaign paused by automation when roi > 1% over 14d with ftd >= 1",
        why="Revenue comes late, so what was paused looks worse than it was. What a person paused stays paused.",
    ),
    Template(
        name="scale-winner", title="More weight for a winner",
        rule="weight offer +20% up to 1000 when roi > 30% over 3d and roi > 30% over 7d with ftd >= 5",
        why="Both windows guard against one lucky day; 20% a day doubles in four.",
    ),
    Template(
        name="placement-bids", title="Tell of placements to bid lower on",
        rule="tell placement when cpa > 120% of payout over 7d with ftd >= 3", most=20, cooldown="3d",
        why="Bids are set at the source: the room is notified which placements are a fifth over what an FTD brings.",
    ),
    Template(
        name="offer-quiet", title="An offer that stopped converting",
        rule="weight offer to 0 when expected_registrations > 5 and registrations = 0 over 24h",
        why="Where 5 registrations were to be expected, none comes by chance in 0.7% of windows.",
    ),
    Template(
        name="dayparting", title="Pause at night",
        rule="pause campaign until 07:00 when hour >= 22",
        why="In the automation's time zone; it runs again at 07:00 by itself.",
        most=100, cooldown="12h",
    ),
)  # fmt: skip
