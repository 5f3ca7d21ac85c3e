-- The outbox beside the embedded queue: notifications of finished images, written in the transaction that ends the job.
-- Each statement starts with a `-- name:` header; watcher/queues/sqlite_outbox.py uses them by name.


-- name: outbox_exists
SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'outbox');


-- name: outbox_schema
-- No new version of the schema: an older alphadrop ignores the table, and this one adds it to an older file.
BEGIN IMMEDIATE;

CREATE TABLE IF NOT EXISTS outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- order in which images were finished; never reused
    id TEXT NOT NULL,
    key BLOB NOT NULL,
    body BLOB NOT NULL,
    finished_at REAL NOT NULL,
    not_before REAL NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    problem TEXT  -- why it was set aside; NULL while it is to be delivered
);

CREATE INDEX IF NOT EXISTS outbox_of_key ON outbox (key, number) WHERE problem IS NULL;
CREATE INDEX IF NOT EXISTS outbox_in_order ON outbox (failures, number) WHERE problem IS NULL;
CREATE INDEX IF NOT EXISTS outbox_by_age ON outbox (finished_at) WHERE problem IS NULL;
CREATE INDEX IF NOT EXISTS outbox_set_aside ON outbox (number) WHERE problem IS NOT NULL;

COMMIT;


-- name: add_notification
INSERT INTO outbox (id, key, body, finished_at) VALUES (:id, :key, :body, :finished_at);


-- name: due_notifications
SELECT * FROM outbox AS o
WHERE problem IS NULL AND (not_before <= :now OR not_before > :latest)
    AND NOT EXISTS (
        SELECT 1 FROM outbox AS earlier
        WHERE earlier.problem IS NULL AND earlier.key = o.key AND earlier.number < o.number
    )
ORDER BY failures, number
LIMIT :limit;


-- name: next_notification
-- Of a key that waits for its next attempt, only the first notification counts.
SELECT min(not_before) FROM outbox AS o
WHERE problem IS NULL
    AND NOT EXISTS (
        SELECT 1 FROM outbox AS earlier
        WHERE earlier.problem IS NULL AND earlier.key = o.key AND earlier.number < o.number
    );


-- name: forget_notification
DELETE FROM outbox WHERE number = :number;


-- name: postpone_notification
UPDATE outbox SET failures = failures + 1, not_before = :not_before WHERE number = :number;


-- name: set_notification_aside
UPDATE outbox SET problem = :problem WHERE number = :number;


-- name: forget_oldest_set_aside
DELETE FROM outbox
WHERE number IN (SELECT number FROM outbox WHERE problem IS NOT NULL ORDER BY number DESC LIMIT -1 OFFSET :most);


-- name: retry_set_aside
UPDATE outbox SET problem = NULL, failures = 0, not_before = 0 WHERE problem IS NOT NULL;


-- name: list_set_aside
SELECT key, problem FROM outbox WHERE problem IS NOT NULL ORDER BY number DESC LIMIT :limit;


-- name: count_outbox
SELECT
    (SELECT count(*) FROM outbox WHERE problem IS NULL) AS pending,
    (SELECT min(finished_at) FROM outbox WHERE problem IS NULL) AS oldest,
    (SELECT count(*) FROM outbox WHERE problem IS NOT NULL) AS set_aside;
