-- Letters: what is sealed for a contact while no connection joins us to it, with keys from the last one.

-- What a connection gave for the time after it: the newest few of each contact, the latest with the highest number.
-- `ready`: the contact has said that it has it in durable storage, too.
CREATE TABLE epochs (
    epoch     INTEGER PRIMARY KEY AUTOINCREMENT,
    contact   INTEGER NOT NULL REFERENCES contacts ON DELETE CASCADE,
    name      BLOB NOT NULL CHECK (length(name) = 8),
    ready     INTEGER NOT NULL DEFAULT 0 CHECK (ready IN (0, 1)),
    sending   BLOB NOT NULL,
    receiving BLOB NOT NULL,
    UNIQUE (name, contact)
) STRICT;
CREATE INDEX epochs_by_contact ON epochs (contact, epoch);

-- My messages in letters, in the order in which they are posted; a long one is several. `number` is of my current log.
-- The envelope is kept until a rendezvous has it: it cannot be sealed again.
CREATE TABLE letters (
    letter   INTEGER PRIMARY KEY AUTOINCREMENT,
    contact  INTEGER NOT NULL REFERENCES contacts ON DELETE CASCADE,
    name     BLOB NOT NULL UNIQUE CHECK (length(name) = 8),
    number   INTEGER NOT NULL,
    envelope BLOB
) STRICT;
CREATE INDEX letters_by_contact ON letters (contact, number);

-- The contact's letters, opened, until all pieces and all messages before them are here.
CREATE TABLE letters_pieces (
    contact INTEGER NOT NULL REFERENCES contacts ON DELETE CASCADE,
    log     INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    piece   INTEGER NOT NULL,
    pieces  INTEGER NOT NULL,
    share   BLOB NOT NULL,
    PRIMARY KEY (contact, log, number, piece)
) STRICT, WITHOUT ROWID;

-- Whatever way a message has come, its letters are of no more use.
CREATE TRIGGER letters_answered AFTER UPDATE OF state ON messages
    WHEN new.mine = 1 AND new.state NOT IN ('queued', 'sent')
BEGIN
    DELETE FROM letters WHERE contact = new.contact AND number = new.number
        AND new.log = (SELECT log FROM contacts WHERE contact = new.contact);
END;
CREATE TRIGGER letters_deleted AFTER DELETE ON messages WHEN old.mine = 1 BEGIN
    DELETE FROM letters WHERE contact = old.contact AND number = old.number
        AND old.log = (SELECT log FROM contacts WHERE contact = old.contact);
END;
CREATE TRIGGER letters_renumbered AFTER UPDATE OF log ON contacts BEGIN
    DELETE FROM letters WHERE contact = new.contact;
END;
CREATE TRIGGER letters_received AFTER INSERT ON received BEGIN
    DELETE FROM letters_pieces WHERE contact = new.contact AND log = new.log AND number <= new.upto;
END;
CREATE TRIGGER letters_followed AFTER UPDATE OF upto ON received BEGIN
    DELETE FROM letters_pieces WHERE contact = new.contact AND log = new.log AND number <= new.upto;
END;
-- Nothing is sealed for, or opened from, one who is kept away.
CREATE TRIGGER letters_blocked AFTER UPDATE OF state ON contacts WHEN new.state = 'blocked' BEGIN
    DELETE FROM epochs WHERE contact = new.contact;
    DELETE FROM letters WHERE contact = new.contact;
    DELETE FROM letters_pieces WHERE contact = new.contact;
END;
