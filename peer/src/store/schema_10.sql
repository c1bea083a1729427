-- What a person has begun to write to a contact and not sent.
CREATE TABLE drafts (
    contact INTEGER PRIMARY KEY REFERENCES contacts ON DELETE CASCADE,
    text    TEXT NOT NULL CHECK (text <> '')
) STRICT;
