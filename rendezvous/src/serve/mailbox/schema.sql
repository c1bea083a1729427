CREATE TABLE mailbox (
    owner BLOB NOT NULL PRIMARY KEY,
    -- What the hashes of its senders, and of its letters' names, are made with.
    key   BLOB NOT NULL,
    -- When the owner was here, to a day; seconds since 1970.
    seen  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sender (
    owner  BLOB NOT NULL,
    -- A keyed hash.
    sender INTEGER NOT NULL,
    PRIMARY KEY (owner, sender)
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT, so that no id is used again: a recipient may name one of an earlier letter.
CREATE TABLE letter (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    owner    BLOB NOT NULL,
    sender   INTEGER NOT NULL,
    mark     INTEGER NOT NULL,
    -- When it came; negative once it is emptied.
    at       INTEGER NOT NULL,
    envelope BLOB NOT NULL
) STRICT;
