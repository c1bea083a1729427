-- What we say of ourselves to those who may not know us, until they have let us in.
ALTER TABLE contacts ADD COLUMN hello TEXT;
