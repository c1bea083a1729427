-- Pieces bear the mark of their letter: of two that had one number, since what it says was changed between, neither is mixed with
-- the other. What was sealed without marks is sealed anew.
DELETE FROM letters;
DROP TABLE letters_pieces;
CREATE TABLE letters_pieces (
    contact INTEGER NOT NULL REFERENCES contacts ON DELETE CASCADE,
    log     INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    mark    BLOB NOT NULL CHECK (length(mark) = 8),
    piece   INTEGER NOT NULL,
    pieces  INTEGER NOT NULL,
    share   BLOB NOT NULL,
    PRIMARY KEY (contact, log, number, mark, piece)
) STRICT, WITHOUT ROWID;

-- What has come of the log that a contact uses now is of no more use, nor is anything of others, which it has given up.
DROP TRIGGER letters_received;
DROP TRIGGER letters_followed;
CREATE TRIGGER letters_received AFTER INSERT ON received BEGIN
    DELETE FROM letters_pieces WHERE contact = new.contact AND (log <> new.log OR number <= new.upto);
END;
CREATE TRIGGER letters_followed AFTER UPDATE OF upto ON received BEGIN
    DELETE FROM letters_pieces WHERE contact = new.contact AND (log <> new.log OR number <= new.upto);
END;
