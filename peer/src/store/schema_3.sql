-- Version 3: search by grams, the runs of one, two and three characters that a text holds, as `grams` (see grams.rs) makes them.
-- The trigram index of version 1 knew nothing of what is shorter than three characters, which is how Chinese is searched.
-- `grams` belongs to the program: a connection that changes messages must have registered it.

DROP TRIGGER messages_inserted;
DROP TRIGGER messages_deleted;
DROP TRIGGER messages_edited;
DROP TABLE messages_search;

-- No text is kept here a second time, and no positions: what is found is compared with the message itself.
CREATE VIRTUAL TABLE messages_grams USING fts5 (
    grams, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii'
);
INSERT INTO messages_grams (rowid, grams) SELECT sequence, grams(contact, text) FROM messages ORDER BY sequence;

CREATE TRIGGER messages_inserted AFTER INSERT ON messages BEGIN
    INSERT INTO messages_grams (rowid, grams) VALUES (new.sequence, grams(new.contact, new.text));
END;
CREATE TRIGGER messages_deleted AFTER DELETE ON messages BEGIN
    DELETE FROM messages_grams WHERE rowid = old.sequence;
END;
CREATE TRIGGER messages_edited AFTER UPDATE OF text ON messages BEGIN
    DELETE FROM messages_grams WHERE rowid = old.sequence;
    INSERT INTO messages_grams (rowid, grams) VALUES (new.sequence, grams(new.contact, new.text));
END;
