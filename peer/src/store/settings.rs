//! Small values of the engine's, by name.

use rusqlite::OptionalExtension;

use super::{Outcome, Store};

impl Store {
    /// The value kept under `key`, if there is one.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn setting(&self, key: &'static str) -> Outcome<Option<Vec<u8>>> {
        self.submit(move |database| {
            let mut statement = database.prepare_cached("SELECT value FROM settings WHERE key = ?1")?;
            Ok(statement.query_row([key], |row| row.get(0)).optional()?)
        })
    }

    /// Keeps `value` under `key`, in place of any earlier one.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn set_setting(&self, key: &'static str, value: Vec<u8>) -> Outcome<()> {
        self.submit(move |database| {
            let mut statement =
                database.prepare_cached("INSERT OR REPLACE INTO settings (key, value) VALUES (?1, ?2)")?;
            statement.execute((key, &value))?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::store::fixture::home;

    #[tokio::test]
    async fn a_setting_is_what_was_last_set() {
        let home = home();
        assert_eq!(home.store.setting("udp_port").await, Ok(None));
        for value in [vec![1, 2], vec![]] {
            home.store.set_setting("udp_port", value.clone()).await.unwrap();
            assert_eq!(home.store.setting("udp_port").await, Ok(Some(value)));
        }
    }
}
