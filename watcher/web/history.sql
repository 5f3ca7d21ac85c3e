-- The page's list of images. Each statement starts with a `-- name:` header; watcher/web/history.py uses them by name.
-- It is a cache: the file may be deleted while alphadrop is stopped. key is UTF-8 that may contain surrogates.


-- name: schema
CREATE TABLE IF NOT EXISTS items (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    key BLOB NOT NULL,
    search TEXT NOT NULL,  -- the key in small letters
    batch TEXT,
    claim BLOB,  -- the output's key that no two images may share; NULL where it is not known
    job TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL,  -- queued, done or rejected
    reason TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '',
    outputs TEXT NOT NULL DEFAULT '[]',
    score REAL,
    doubts TEXT NOT NULL DEFAULT '',
    model TEXT NOT NULL DEFAULT '',
    decision TEXT,
    created REAL NOT NULL,
    finished REAL
);
CREATE INDEX IF NOT EXISTS by_time ON items (created, seq);
CREATE INDEX IF NOT EXISTS by_status ON items (status, created, seq);
CREATE INDEX IF NOT EXISTS by_batch ON items (batch, created, seq);
CREATE INDEX IF NOT EXISTS by_score ON items (score, seq, status, decision) WHERE score IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_claim ON items (claim) WHERE claim IS NOT NULL;
PRAGMA user_version = 1;


-- name: queue_item
-- An upload, or an image that is processed again: it keeps its id and the time at which it came.
INSERT INTO items (id, key, search, batch, claim, job, status, created)
VALUES (:id, :key, :search, :batch, :claim, :job, 'queued', :now)
ON CONFLICT (id) DO UPDATE
SET job = excluded.job, claim = ifnull(excluded.claim, claim), status = 'queued', reason = '', message = '', finished = NULL;


-- name: recover_item
INSERT INTO items (id, key, search, batch, claim, job, status, created)
VALUES (:id, :key, :search, :batch, :claim, :job, 'queued', :now)
ON CONFLICT (id) DO NOTHING;


-- name: set_job
UPDATE items SET job = :job WHERE id = :id AND status = 'queued';


-- name: finish_item
-- A decision holds only for the outputs that were looked at.
INSERT INTO items (
    id, key, search, batch, job, status, reason, message, outputs, score, doubts, model, created, finished
)
VALUES (
    :id, :key, :search, :batch, :job, :status, :reason, :message, :outputs, :score, :doubts, :model, :created, :now
)
ON CONFLICT (id) DO UPDATE
SET job = excluded.job, status = excluded.status, reason = excluded.reason, message = excluded.message,
    outputs = iif(:keep, outputs, excluded.outputs), score = iif(:keep, score, excluded.score),
    doubts = iif(:keep, doubts, excluded.doubts), model = iif(:keep, model, excluded.model),
    decision = iif(:keep, decision, NULL), finished = excluded.finished;


-- name: set_outputs
UPDATE items SET outputs = :outputs WHERE id = :id;


-- name: remade_item
UPDATE items
SET message = :message, outputs = iif(:failed, outputs, :outputs), score = iif(:failed, score, :score),
    doubts = iif(:failed, doubts, :doubts), model = iif(:failed, model, :model),
    decision = iif(:failed, decision, NULL), finished = iif(:failed, finished, :now)
WHERE id = :id;


-- name: set_decision
UPDATE items SET decision = :decision WHERE id = :id;


-- name: forget_item
DELETE FROM items WHERE id = :id;


-- name: item
SELECT * FROM items WHERE id = :id;


-- name: claimed
SELECT key FROM items WHERE claim = :claim LIMIT 1;


-- name: open_items
SELECT * FROM items WHERE status = 'queued' ORDER BY created DESC, seq DESC LIMIT :limit;


-- name: last_failures
SELECT * FROM items WHERE status = 'rejected' ORDER BY created DESC, seq DESC LIMIT :limit;


-- name: count_all
SELECT count(*) FROM items;


-- name: prune
DELETE FROM items WHERE seq IN (SELECT seq FROM items ORDER BY created DESC, seq DESC LIMIT -1 OFFSET :most);
