PRAGMA application_id = 0x78617069;

CREATE TABLE object (
    ref   TEXT PRIMARY KEY,
    class TEXT NOT NULL,
    uuid  TEXT UNIQUE,
    body  BLOB NOT NULL
) STRICT;

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT;

CREATE TABLE credential (
    name TEXT PRIMARY KEY,
    hash TEXT NOT NULL
) STRICT;
