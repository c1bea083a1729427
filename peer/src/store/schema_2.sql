-- Messages of other kinds than texts, and what they change.

-- Kinds: what `content.rs` calls them. `text` is the text as it is now: empty for the other kinds, and once deleted or expired.
ALTER TABLE messages ADD COLUMN kind TEXT NOT NULL DEFAULT 'text'
    CHECK (kind IN ('text', 'edit', 'delete', 'reaction', 'timer', 'unknown'));
-- What a conversation shows: texts that have not expired, and timers.
ALTER TABLE messages ADD COLUMN shown INTEGER NOT NULL DEFAULT 1 CHECK (shown IN (0, 1));
-- The message that this one changes or, if it is a text, answers; it need not be here.
ALTER TABLE messages ADD COLUMN target BLOB CHECK (length(target) = 16);
-- A change as it is on the wire, for as long as it must be sent or applied.
ALTER TABLE messages ADD COLUMN content BLOB;
-- A change whose target has not come yet.
ALTER TABLE messages ADD COLUMN pending INTEGER NOT NULL DEFAULT 0 CHECK (pending IN (0, 1));
-- The edit whose text this is: of several the latest by its author's clock, then by id.
ALTER TABLE messages ADD COLUMN edit_at INTEGER;
ALTER TABLE messages ADD COLUMN edit_id BLOB;
ALTER TABLE messages ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1));
-- How long it lasts, in seconds (of a timer: what it sets); and when it ends, by this machine's clock, once that counts.
ALTER TABLE messages ADD COLUMN expires_s INTEGER;
ALTER TABLE messages ADD COLUMN expires_at INTEGER;

DROP INDEX messages_by_contact;
CREATE INDEX messages_shown ON messages (contact) WHERE shown = 1;
CREATE INDEX messages_pending ON messages (contact, target) WHERE pending = 1;
CREATE INDEX messages_expiring ON messages (contact, expires_at) WHERE expires_at IS NOT NULL;

-- The latest word of each author on each emoji, by its clock, then by id; what was taken back is remembered as well.
CREATE TABLE reactions (
    contact INTEGER NOT NULL REFERENCES contacts ON DELETE CASCADE,
    target  BLOB NOT NULL,
    mine    INTEGER NOT NULL CHECK (mine IN (0, 1)),
    emoji   TEXT NOT NULL,
    at      INTEGER NOT NULL,
    id      BLOB NOT NULL,
    there   INTEGER NOT NULL CHECK (there IN (0, 1)),
    PRIMARY KEY (contact, target, mine, emoji)
) STRICT, WITHOUT ROWID;

-- How long new texts last in this conversation, and the word that set it: the latest by its author's clock, then by id.
ALTER TABLE contacts ADD COLUMN timer_s INTEGER;
ALTER TABLE contacts ADD COLUMN timer_at INTEGER;
ALTER TABLE contacts ADD COLUMN timer_id BLOB;
