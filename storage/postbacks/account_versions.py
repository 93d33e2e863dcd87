"""What makes requests of one account be placed one after the other on PostgreSQL: a version that each batch raises.

A batch either raises the versions of its accounts first, which locks their rows until it is committed, or reads them
with all else that it needs, and stores itself only if they are still the same.
"""

from collections.abc import Mapping

from storage.db.bulk_sql import Condition

_RAISED = "UPDATE accounts SET postback_version = postback_version + 1 FROM held WHERE accounts.id = held.id"
_PART = f"""
held AS (
  SELECT accounts.id FROM accounts JOIN unnest({{0}}::bigint[], {{1}}::bigint[]) AS expected(id, version)
  ON accounts.id = expected.id AND postback_version = expected.version ORDER BY 1 FOR NO KEY UPDATE OF accounts
), raised AS ({_RAISED} RETURNING 1)
"""  # noqa: S608 - words of ours
_RESULT = "1 / (count(*) = cardinality({0}::bigint[]))::integer FROM raised"


def raise_versions(ids: str) -> str:
    """A statement that locks accounts in the order of their ids, and raises their versions.

    `ids`: a parameter, or an array. Plans are kept for the statements after it: to make one for the values of each
    batch takes longer than its work.
    """
    return (
        f"WITH held AS (SELECT id FROM accounts WHERE id = ANY({ids}::bigint[]) ORDER BY id FOR NO KEY UPDATE) "  # noqa: S608
        f"{_RAISED} RETURNING set_config('plan_cache_mode', 'force_generic_plan', true)"
    )


def as_expected(versions: Mapping[int, int]) -> Condition:
    """That accounts, by id, have the versions which were read; it raises them."""
    return Condition(_PART, _RESULT, (list(versions), list(versions.values())))
