-- When a contact was known to be there last, and whether it may see that the person is: NULL as for all.
ALTER TABLE contacts ADD COLUMN last_seen INTEGER;
ALTER TABLE contacts ADD COLUMN shown INTEGER CHECK (shown IN (0, 1));
