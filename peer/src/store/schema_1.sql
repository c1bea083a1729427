-- Version 1. Never edited once released: a change is a further file in schema.rs' list of migrations.
-- Log ids are random 64-bit numbers, never zero, kept in SQLite's signed integers bit for bit.

CREATE TABLE settings (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- A contact, and the state of the one conversation with it.
CREATE TABLE contacts (
    contact  INTEGER PRIMARY KEY,
    peer     BLOB NOT NULL UNIQUE CHECK (length(peer) = 32),
    name     TEXT NOT NULL UNIQUE CHECK (name <> ''),
    state    TEXT NOT NULL CHECK (state IN ('requested', 'contact', 'request', 'blocked')),
    verified INTEGER NOT NULL DEFAULT 0 CHECK (verified IN (0, 1)),
    greeting TEXT,
    added_at INTEGER NOT NULL,
    -- Where my messages are numbered. Each conversation draws its own: when a removed contact comes back, its numbers begin
    -- anew, and under the old log the contact would take them for repetitions.
    log      INTEGER NOT NULL DEFAULT (random() | 1),
    next     INTEGER NOT NULL DEFAULT 1
) STRICT;

CREATE TABLE contact_via (
    contact  INTEGER NOT NULL REFERENCES contacts ON DELETE CASCADE,
    position INTEGER NOT NULL,
    key      BLOB NOT NULL CHECK (length(key) = 32),
    host     TEXT NOT NULL,
    port     INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    PRIMARY KEY (contact, position)
) STRICT, WITHOUT ROWID;

-- The contact's logs: all numbers up to `upto` are stored here. `used` grows: the log with the highest is the current one.
CREATE TABLE received (
    contact INTEGER NOT NULL REFERENCES contacts ON DELETE CASCADE,
    log     INTEGER NOT NULL,
    upto    INTEGER NOT NULL,
    used    INTEGER NOT NULL,
    PRIMARY KEY (contact, log)
) STRICT, WITHOUT ROWID;

-- `sequence` is the order in which messages are shown: that of storing, since the contact's clock proves nothing.
-- Mine go queued, sent, delivered, read, or failed; theirs are delivered until the person has read them.
CREATE TABLE messages (
    sequence  INTEGER PRIMARY KEY,
    contact   INTEGER NOT NULL REFERENCES contacts ON DELETE CASCADE,
    id        BLOB NOT NULL CHECK (length(id) = 16),
    mine      INTEGER NOT NULL CHECK (mine IN (0, 1)),
    log       INTEGER NOT NULL,
    number    INTEGER NOT NULL CHECK (number > 0),
    text      TEXT NOT NULL,
    at        INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('queued', 'sent', 'delivered', 'read', 'failed')),
    UNIQUE (contact, id),
    UNIQUE (contact, mine, log, number)
) STRICT;

-- A page of history; the rowid, which is `sequence`, ends every index by itself.
CREATE INDEX messages_by_contact ON messages (contact);
-- Small however long the history is. SQLite prefers the index above that holds all, so statements name these (INDEXED BY).
CREATE INDEX messages_unread ON messages (contact, log, number) WHERE mine = 0 AND state = 'delivered';
CREATE INDEX messages_unacknowledged ON messages (contact, log, number) WHERE mine = 1 AND state IN ('queued', 'sent');
CREATE INDEX messages_unread_by_peer ON messages (contact, log, number)
    WHERE mine = 1 AND state IN ('queued', 'sent', 'delivered');

-- Trigrams find any run of three characters, in scripts without spaces too.
CREATE VIRTUAL TABLE messages_search USING fts5 (
    text, content = 'messages', content_rowid = 'sequence', tokenize = 'trigram'
);
CREATE TRIGGER messages_inserted AFTER INSERT ON messages BEGIN
    INSERT INTO messages_search (rowid, text) VALUES (new.sequence, new.text);
END;
CREATE TRIGGER messages_deleted AFTER DELETE ON messages BEGIN
    INSERT INTO messages_search (messages_search, rowid, text) VALUES ('delete', old.sequence, old.text);
END;
CREATE TRIGGER messages_edited AFTER UPDATE OF text ON messages BEGIN
    INSERT INTO messages_search (messages_search, rowid, text) VALUES ('delete', old.sequence, old.text);
    INSERT INTO messages_search (rowid, text) VALUES (new.sequence, new.text);
END;
