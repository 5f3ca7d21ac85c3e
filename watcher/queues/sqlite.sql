-- The embedded queue's statements. Each starts with a `-- name:` header; watcher/queues/sqlite_database.py loads them by name.
--
-- Triggers keep two invariants:
--   * each key has at most one job that is not leased, and that job is the newest;
--   * `tally` holds the number and size of the jobs in each state, so that counting does not scan `jobs`.
-- key, version, output and detail are UTF-8 that may contain surrogates, because file names need not be valid text.


-- name: state_of_schema
-- One statement, so that it sees a schema that another process is creating either complete or not at all.
SELECT (SELECT user_version FROM pragma_user_version) AS version, (SELECT count(*) FROM sqlite_master) AS tables;


-- name: schema
BEGIN IMMEDIATE;

CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of insertion; never reused
    id TEXT NOT NULL UNIQUE,
    key BLOB NOT NULL,
    version BLOB NOT NULL,
    size INTEGER NOT NULL,
    output BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'leased', 'done', 'rejected')),
    found_at REAL NOT NULL,
    not_before REAL NOT NULL DEFAULT 0,
    suspected_at REAL,  -- when it became a crash suspect, NULL if it is none
    deaths INTEGER NOT NULL DEFAULT 0,  -- deaths of workers that had only this job in flight
    claims INTEGER NOT NULL DEFAULT 0,  -- number of leases; (seq, claims) identifies one lease
    owner TEXT,
    alone INTEGER NOT NULL DEFAULT 0,
    leased_at REAL,
    ended_at REAL,
    outcome TEXT,
    reason TEXT,
    detail BLOB,
    counted_as TEXT NOT NULL GENERATED ALWAYS AS (
        CASE state
            WHEN 'pending' THEN iif(suspected_at IS NULL, '', 'suspect')
            WHEN 'done' THEN outcome
            WHEN 'rejected' THEN reason
            ELSE ''
        END
    ) VIRTUAL
);

CREATE INDEX IF NOT EXISTS jobs_of_key ON jobs (key);
CREATE INDEX IF NOT EXISTS pending_in_order ON jobs (found_at) WHERE state = 'pending' AND suspected_at IS NULL;
CREATE INDEX IF NOT EXISTS pending_by_output ON jobs (output) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS pending_delayed ON jobs (not_before) WHERE state = 'pending' AND not_before > 0;
CREATE INDEX IF NOT EXISTS suspects_in_order ON jobs (deaths, found_at)
WHERE state = 'pending' AND suspected_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS leased_by_key ON jobs (key) WHERE state = 'leased';
CREATE INDEX IF NOT EXISTS leased_by_output ON jobs (output) WHERE state = 'leased';
CREATE INDEX IF NOT EXISTS rejected_in_order ON jobs (ended_at) WHERE state = 'rejected';

CREATE TABLE IF NOT EXISTS tally (
    state TEXT NOT NULL,
    counted_as TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (state, counted_as)
) WITHOUT ROWID;

CREATE TRIGGER IF NOT EXISTS newest_on_put AFTER INSERT ON jobs BEGIN
    DELETE FROM jobs WHERE key = new.key AND seq < new.seq AND state <> 'leased';
END;

CREATE TRIGGER IF NOT EXISTS newest_on_end AFTER UPDATE OF state ON jobs
WHEN old.state = 'leased' AND new.state <> 'leased' BEGIN
    DELETE FROM jobs
    WHERE seq = new.seq AND EXISTS (SELECT 1 FROM jobs AS newer WHERE newer.key = new.key AND newer.seq > new.seq);
END;

-- SQLite does not define the order of triggers. These only add, so that every order gives the same sums.
CREATE TRIGGER IF NOT EXISTS tally_insert AFTER INSERT ON jobs BEGIN
    INSERT INTO tally VALUES (new.state, new.counted_as, 1, new.size)
    ON CONFLICT DO UPDATE SET jobs = jobs + excluded.jobs, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER IF NOT EXISTS tally_delete AFTER DELETE ON jobs BEGIN
    INSERT INTO tally VALUES (old.state, old.counted_as, -1, -old.size)
    ON CONFLICT DO UPDATE SET jobs = jobs + excluded.jobs, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER IF NOT EXISTS tally_update AFTER UPDATE OF state ON jobs BEGIN
    INSERT INTO tally VALUES (old.state, old.counted_as, -1, -old.size), (new.state, new.counted_as, 1, new.size)
    ON CONFLICT DO UPDATE SET jobs = jobs + excluded.jobs, bytes = bytes + excluded.bytes;
END;

PRAGMA user_version = 1;
COMMIT;


-- name: has_urgent
SELECT EXISTS (SELECT 1 FROM pragma_table_info('jobs') WHERE name = 'urgent');


-- name: add_urgent
-- No new version of the schema: an older alphadrop ignores the column, and this one adds it to an older file.
ALTER TABLE jobs ADD COLUMN urgent INTEGER NOT NULL DEFAULT 0;


-- name: index_urgent
CREATE INDEX IF NOT EXISTS urgent_in_order ON jobs (found_at)
WHERE state = 'pending' AND suspected_at IS NULL AND urgent = 1;


-- name: put_job
-- The trigger newest_on_put deletes the older jobs of the key.
INSERT INTO jobs (id, key, version, size, output, found_at)
VALUES (:id, :key, :version, :size, :output, :now)
ON CONFLICT DO NOTHING;


-- name: hurry_job
-- A source may have reported the image before the upload that wrote it could put its job.
UPDATE jobs SET urgent = 1 WHERE id = :id AND state = 'pending';


-- name: count_urgent
SELECT count(*) FROM jobs WHERE state = 'pending' AND suspected_at IS NULL AND urgent = 1;


-- name: lease_urgent
-- The same as lease_jobs, for urgent jobs.
UPDATE jobs
SET state = 'leased', owner = :owner, leased_at = :now, alone = 0, claims = claims + 1, not_before = 0
WHERE seq IN (
    SELECT c.seq
    FROM jobs AS c
    WHERE c.state = 'pending' AND c.suspected_at IS NULL AND c.urgent = 1 AND c.not_before <= :now
        AND NOT EXISTS (SELECT 1 FROM jobs AS held WHERE held.state = 'leased' AND held.key = c.key)
        AND NOT EXISTS (SELECT 1 FROM jobs AS held WHERE held.state = 'leased' AND held.output = c.output)
        AND NOT EXISTS (
            SELECT 1
            FROM jobs AS first
            WHERE first.state = 'pending' AND first.output = c.output
                AND first.suspected_at IS NULL AND (first.not_before <= :now OR first.not_before > :latest)
                AND (first.found_at, first.seq) < (c.found_at, c.seq)
        )
    ORDER BY c.found_at, c.seq
    LIMIT :limit
)
RETURNING *;


-- name: lease_jobs
-- A job that would have to wait longer than until :latest was released while the clock was ahead: it may start.
-- The last condition prevents two leased jobs with the same output. Only one job of a key can be pending anyway.
UPDATE jobs
SET state = 'leased', owner = :owner, leased_at = :now, alone = 0, claims = claims + 1, not_before = 0
WHERE seq IN (
    SELECT c.seq
    FROM jobs AS c
    WHERE c.state = 'pending' AND c.suspected_at IS NULL
        AND (c.not_before <= :now OR c.not_before > :latest)
        AND NOT EXISTS (SELECT 1 FROM jobs AS held WHERE held.state = 'leased' AND held.key = c.key)
        AND NOT EXISTS (SELECT 1 FROM jobs AS held WHERE held.state = 'leased' AND held.output = c.output)
        AND NOT EXISTS (
            SELECT 1
            FROM jobs AS first
            WHERE first.state = 'pending' AND first.output = c.output
                AND first.suspected_at IS NULL AND (first.not_before <= :now OR first.not_before > :latest)
                AND (first.found_at, first.seq) < (c.found_at, c.seq)
        )
    ORDER BY c.found_at, c.seq
    LIMIT :limit
)
RETURNING *;


-- name: lease_suspect
UPDATE jobs
SET state = 'leased', owner = :owner, leased_at = :now, alone = 1, claims = claims + 1, not_before = 0
WHERE seq = (
    SELECT c.seq
    FROM jobs AS c
    WHERE c.state = 'pending' AND c.suspected_at IS NOT NULL
        AND (c.not_before <= :now OR c.not_before > :latest)
        AND NOT EXISTS (SELECT 1 FROM jobs AS held WHERE held.state = 'leased' AND held.key = c.key)
        AND NOT EXISTS (SELECT 1 FROM jobs AS held WHERE held.state = 'leased' AND held.output = c.output)
    ORDER BY c.deaths, c.found_at, c.seq
    LIMIT 1
)
RETURNING *;


-- name: lease_last_suspect
UPDATE jobs
SET state = 'leased', owner = :owner, leased_at = :now, alone = 1, claims = claims + 1, not_before = 0
WHERE seq = (
    SELECT c.seq
    FROM jobs AS c
    WHERE c.state = 'pending' AND c.suspected_at IS NOT NULL
        AND (c.not_before <= :now OR c.not_before > :latest)
        AND NOT EXISTS (SELECT 1 FROM jobs AS held WHERE held.state = 'leased' AND held.key = c.key)
        AND NOT EXISTS (SELECT 1 FROM jobs AS held WHERE held.state = 'leased' AND held.output = c.output)
    ORDER BY c.suspected_at DESC, c.deaths DESC, c.seq
    LIMIT 1
)
RETURNING *;


-- name: suspect_is_overdue
SELECT EXISTS (
    SELECT 1 FROM jobs
    WHERE state = 'pending' AND suspected_at IS NOT NULL AND (suspected_at < :overdue OR suspected_at > :now)
        AND (not_before <= :now OR not_before > :latest)
);


-- name: end_done
-- By id alone: the output exists, whoever has leased the job by now.
UPDATE jobs
SET state = 'done', outcome = :outcome, ended_at = :now, suspected_at = NULL, deaths = 0, alone = 0
WHERE id = :id AND state IN ('pending', 'leased');


-- name: end_release
-- A released suspect starts to wait again, so that repeated releases do not starve other suspects.
UPDATE jobs
SET state = 'pending', not_before = :not_before, suspected_at = iif(suspected_at IS NULL, NULL, :now),
    owner = NULL, alone = 0, leased_at = NULL
WHERE seq = :seq AND claims = :claim AND state = 'leased';


-- name: end_reject
UPDATE jobs
SET state = 'rejected', outcome = 'rejected', reason = :reason, detail = :detail, ended_at = :now,
    suspected_at = NULL, alone = 0
WHERE seq = :seq AND claims = :claim AND state = 'leased';


-- name: quarantine_killers
-- Superseded jobs are left to abandon_leases, which deletes them: they must not be reported as quarantined.
UPDATE jobs
SET state = 'rejected', outcome = 'rejected', reason = :reason, detail = :detail, ended_at = :now,
    suspected_at = NULL, alone = 0, deaths = deaths + 1
WHERE state = 'leased' AND owner = :owner AND alone AND deaths + 1 >= :deaths
    AND NOT EXISTS (SELECT 1 FROM jobs AS newer WHERE newer.key = jobs.key AND newer.seq > jobs.seq)
RETURNING *;


-- name: abandon_leases
-- :owner is NULL for all owners.
UPDATE jobs
SET state = 'pending', suspected_at = :now, deaths = deaths + (alone AND :blame), not_before = 0,
    owner = NULL, alone = 0, leased_at = NULL
WHERE state = 'leased' AND (:owner IS NULL OR owner = :owner);


-- name: reopen_job
UPDATE jobs
SET state = 'pending', found_at = :now, not_before = 0, outcome = NULL, ended_at = NULL, owner = NULL, leased_at = NULL
WHERE id = :id AND state = 'done';


-- name: retry_rejected
UPDATE jobs
SET state = 'pending', found_at = :now, not_before = 0, deaths = 0, outcome = NULL, reason = NULL, detail = NULL,
    ended_at = NULL, owner = NULL, leased_at = NULL
WHERE state = 'rejected' AND key_matches(key, :pattern)
RETURNING *;


-- name: list_rejected
SELECT * FROM jobs WHERE state = 'rejected' AND (:reason = '' OR reason = :reason)
ORDER BY ended_at DESC, seq DESC LIMIT :limit;


-- name: forget_key
DELETE FROM jobs WHERE key = :key AND state <> 'leased';


-- name: known_states
SELECT id, state FROM jobs WHERE id IN (SELECT value FROM json_each(:ids));


-- name: next_due
SELECT min(not_before) FROM jobs WHERE state = 'pending' AND not_before > 0 AND not_before > :now;


-- name: read_tally
SELECT state, counted_as, jobs, bytes FROM tally WHERE jobs > 0;


-- name: oldest_pending
SELECT min(found_at)
FROM (
    SELECT min(found_at) AS found_at FROM jobs WHERE state = 'pending' AND suspected_at IS NULL
    UNION ALL
    SELECT min(found_at) FROM jobs WHERE state = 'pending' AND suspected_at IS NOT NULL
);
