-- A study's results. Names of files are never stored: they follow from keys, so that a store which comes from
-- someone else can name nothing outside of its folder.

-- One row: the study, with what it is run.
CREATE TABLE study (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    toml TEXT NOT NULL,
    stamp TEXT NOT NULL            -- JSON of RunStamp
) STRICT;

-- Clips in the study's order. `position` is none for those that an earlier form of the study had.
CREATE TABLE reference (
    path TEXT PRIMARY KEY,
    position INTEGER UNIQUE,
    sha256 TEXT NOT NULL,
    json TEXT NOT NULL,            -- of Reference
    features BLOB NOT NULL
) STRICT;

-- The baseline and the variants in the study's order.
CREATE TABLE variant (
    position INTEGER PRIMARY KEY,
    json TEXT NOT NULL             -- of RunVariant
) STRICT;

-- Processes that work on the study. Whoever holds the lock on the file named by `lock` is alive.
CREATE TABLE worker (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    lock TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE motion (
    key TEXT PRIMARY KEY,
    position INTEGER,              -- order of work; none if the study does not need it any more
    inversion_hash TEXT NOT NULL,
    reference TEXT NOT NULL REFERENCES reference (path),
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    worker INTEGER REFERENCES worker (id),
    error TEXT,
    seconds REAL,
    losses TEXT                    -- JSON list
) STRICT;

CREATE TABLE cell (
    key TEXT PRIMARY KEY,
    position INTEGER,              -- as above
    motion TEXT NOT NULL REFERENCES motion (key),
    variant_hash TEXT NOT NULL,
    reference TEXT NOT NULL REFERENCES reference (path),
    prompt TEXT NOT NULL,
    seed INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    worker INTEGER REFERENCES worker (id),
    error TEXT,
    measured TEXT,                 -- JSON of Measured, without features
    features BLOB
) STRICT;

CREATE INDEX cell_by_state ON cell (state, position);
CREATE INDEX cell_by_motion ON cell (motion);
