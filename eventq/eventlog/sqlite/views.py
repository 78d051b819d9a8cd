"""The views of the SQLite log, for people and other programs; nothing of eventq reads them."""

from __future__ import annotations

VIEWS = """
-- Every event, readable: when it happened in UTC, what happened, to which task.
CREATE VIEW history AS
SELECT
    namespaces.name AS namespace,
    events.place & 1099511627775 AS seq,
    strftime('%Y-%m-%dT%H:%M:%S', events.at / 1000000, 'unixepoch')
        || printf('.%06dZ', events.at % 1000000) AS time,
    events.body ->> '$.kind' AS kind,
    events.task AS task,
    events.key AS key,
    events.body AS body,
    events.place AS place
FROM events JOIN namespaces ON namespaces.id = events.place >> 40;

-- Every commit: the events that were appended together.
CREATE VIEW commits AS
SELECT
    namespaces.name AS namespace,
    (events.place & 1099511627775) - events.count + 1 AS first,
    events.count AS count,
    events.at AS at,
    events.id AS id,
    events.seal AS seal
FROM events JOIN namespaces ON namespaces.id = events.place >> 40
WHERE events.seal IS NOT NULL;

-- Every task as its events leave it. A scheduled task is ready once its time has come; a waiting
-- one comes after others, or is a finaliser that was not begun yet; an unknown one was touched by
-- an event of a kind that only a newer eventq knows. Without statistics the
-- planner would walk the whole log for each task, hence INDEXED BY.
CREATE VIEW task_states AS
WITH all_later AS (
    SELECT
        place >> 40 AS ns,
        place,
        task,
        body,
        body ->> '$.kind' AS kind,
        body ->> '$.kind' IN (
            'leased', 'completed', 'failed', 'retried', 'expired', 'cancelled', 'released',
            'updated', 'refused', 'progressed', 'saved', 'noted', 'revived'
        ) AS is_known
    FROM events INDEXED BY events_by_task
    WHERE task <> (place & 1099511627775)
),
later AS (
    SELECT *, NOT is_known AND body -> '$.skip' IS NOT 'true' AS is_unknown
    FROM all_later
),
states AS (
SELECT
    namespaces.id AS ns,
    created.body AS made,
    namespaces.name AS namespace,
    created.task AS task,
    CASE
        WHEN created.key IS NULL OR unicode(created.key) = 31 THEN CAST(created.task AS TEXT)
        ELSE created.key
    END AS key,
    strftime('%Y-%m-%dT%H:%M:%S', created.at / 1000000, 'unixepoch')
        || printf('.%06dZ', created.at % 1000000) AS created,
    created.body ->> '$.name' AS name,
    coalesce(
        (
            SELECT body ->> '$.lane'
            FROM later
            WHERE ns = namespaces.id
                AND task = created.task
                AND kind = 'updated'
                AND body -> '$.lane' IS NOT NULL
            ORDER BY place DESC
            LIMIT 1
        ),
        created.body ->> '$.lane',
        'default'
    ) AS lane,
    coalesce(
        (
            SELECT
                CASE
                    WHEN kind IN ('completed', 'expired', 'cancelled') THEN kind
                    WHEN EXISTS (
                        SELECT 1
                        FROM later AS newer
                        WHERE newer.ns = namespaces.id
                            AND newer.task = created.task
                            AND newer.is_unknown
                    ) THEN 'unknown'
                    WHEN kind IN ('retried', 'released') THEN 'scheduled'
                    ELSE kind
                END
            FROM later
            WHERE ns = namespaces.id
                AND task = created.task
                AND is_known
                AND kind NOT IN (
                    'updated', 'refused', 'progressed', 'saved', 'noted', 'revived'
                )
            ORDER BY place DESC
            LIMIT 1
        ),
        (
            SELECT 'unknown'
            FROM later
            WHERE ns = namespaces.id AND task = created.task AND is_unknown
            LIMIT 1
        ),
        'scheduled'
    ) AS state,
    (
        SELECT
            count(*) FILTER (WHERE kind = 'leased') - count(*) FILTER (WHERE kind = 'released')
        FROM later
        WHERE ns = namespaces.id AND task = created.task
    ) AS attempts,
    (
        SELECT (body ->> '$.error.type') || coalesce(': ' || (body ->> '$.error.message'), '')
        FROM later
        WHERE ns = namespaces.id AND task = created.task AND kind = 'failed'
        ORDER BY place DESC
        LIMIT 1
    ) AS last_error,
    (
        SELECT
            CASE
                WHEN kind = 'progressed'
                    THEN (body ->> '$.done')
                        || coalesce(' of ' || (body ->> '$.total'), '')
                        || coalesce(' ' || (body ->> '$.note'), '')
            END
        FROM later
        WHERE ns = namespaces.id
            AND task = created.task
            AND kind IN ('progressed', 'leased', 'completed')
        ORDER BY place DESC
        LIMIT 1
    ) AS progress
FROM events AS created JOIN namespaces ON namespaces.id = created.place >> 40
WHERE created.task = (created.place & 1099511627775)
)
SELECT
    namespace,
    task,
    key,
    created,
    name,
    lane,
    CASE
        WHEN state <> 'scheduled' THEN state
        WHEN made ->> '$.role' IS NOT NULL AND attempts = 0 THEN 'waiting'
        WHEN made ->> '$.after' IS NOT NULL AND EXISTS (
            SELECT 1
            FROM (
                SELECT coalesce(
                    (
                        SELECT body -> '$.reopens'
                        FROM later
                        WHERE ns = states.ns
                            AND task = states.task
                            AND kind = 'retried'
                            AND body -> '$.reopens' IS NOT NULL
                        ORDER BY place DESC
                        LIMIT 1
                    ),
                    states.made
                ) AS opened
            ),
            json_each(opened, '$.after') AS before
            WHERE coalesce(before.value ->> 1, '') NOT IN ('completed', 'waived')
                AND coalesce(
                    (
                        SELECT
                            CASE
                                WHEN kind = 'completed' THEN 'met'
                                WHEN kind NOT IN ('expired', 'cancelled') THEN 'open'
                                WHEN opened ->> '$.if_failed' = 'run' THEN 'met'
                                WHEN EXISTS (
                                    SELECT 1
                                    FROM later AS edit
                                    WHERE edit.ns = states.ns
                                        AND edit.task = states.task
                                        AND edit.kind = 'updated'
                                        AND edit.body ->> '$.waives'
                                ) THEN 'met'
                                ELSE 'open'
                            END
                        FROM later AS other
                        WHERE other.ns = states.ns
                            AND other.task = before.value ->> 0
                            AND kind NOT IN (
                                'updated', 'refused', 'progressed', 'saved', 'noted', 'revived'
                            )
                        ORDER BY other.place DESC
                        LIMIT 1
                    ),
                    'open'
                ) = 'open'
        ) THEN 'waiting'
        ELSE state
    END AS state,
    attempts,
    last_error,
    progress,
    coalesce(
        (
            SELECT coalesce(body -> '$.tags', body -> '$.reopens.tags')
            FROM later
            WHERE ns = states.ns
                AND task = states.task
                AND coalesce(body -> '$.tags', body -> '$.reopens.tags') IS NOT NULL
                AND kind IN ('updated', 'retried')
            ORDER BY place DESC
            LIMIT 1
        ),
        made -> '$.tags',
        '{}'
    ) AS tags,
    made ->> '$.schedule' AS schedule,
    strftime('%Y-%m-%dT%H:%M:%SZ', (made ->> '$.due') / 1000000, 'unixepoch') AS due,
    made ->> '$.flow' AS flow,
    (
        SELECT json_group_array(value ->> 0)
        FROM json_each(made, '$.after')
        HAVING count(*) > 0
    ) AS comes_after,
    made -> '$.limits' AS limits,
    made ->> '$.share' AS share,
    made ->> '$.trace' AS trace
FROM states;
"""
