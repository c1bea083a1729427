-- Contacts with whom a person meets through a relay alone.
ALTER TABLE contacts ADD COLUMN relay_only INTEGER NOT NULL DEFAULT 0 CHECK (relay_only IN (0, 1));
