-- What is changed or taken back before a rendezvous has its letter is sealed anew, as it is now, and so is all that follows it: in
-- letters numbers have no gaps. What was there already under such a number is not taken twice.
CREATE TRIGGER letters_amended AFTER UPDATE OF text ON messages
    WHEN new.mine = 1 AND new.state = 'queued' AND new.text IS NOT old.text
BEGIN
    DELETE FROM letters WHERE contact = new.contact AND number >= new.number
        AND new.log = (SELECT log FROM contacts WHERE contact = new.contact)
        AND EXISTS (SELECT 1 FROM letters AS own
            WHERE own.contact = new.contact AND own.number = new.number AND own.envelope IS NOT NULL);
END;
