//! The configuration of tests: a base that all of them need, and TOML that is laid over it.

use toml_edit::{DocumentMut, Item, Table};

use crate::store::Store;

/// The bucket at the root of [`USER`].
pub const BUCKET: &str = "files";
/// The user of [`Settings::least`].
pub const USER: &str = "u";
/// Their password.
pub const PASSWORD: &str = "p";

/// TOML that further TOML can be laid over.
#[derive(Debug, Default)]
pub struct Settings(DocumentMut);

impl Settings {
    /// The least that a server needs: ephemeral ports, the store `main`, whose bucket [`BUCKET`] is the
    /// root of [`USER`].
    pub fn least(store: &Store) -> Settings {
        let mut settings = Settings::default();
        settings.lay("listen = [\"127.0.0.1:0\"]\npassive.ports = \"auto\"");
        settings.lay(&store_section("main", store));
        settings.lay(&format!(
            "[mounts.main]\nstore = \"main\"\nbucket = \"{BUCKET}\""
        ));
        settings.lay(&user_section(USER, PASSWORD, "{ \"/\" = \"main\" }"));
        settings
    }

    /// Lays TOML over it: tables are merged, all other values replaced, inline tables too.
    pub fn lay(&mut self, toml: &str) {
        let over: DocumentMut = match toml.parse() {
            Ok(over) => over,
            Err(error) => panic!("{error}\nin\n{toml}"),
        };
        merge(self.0.as_table_mut(), over.as_table());
    }

    /// Removes the entry of a table: a user, say.
    pub fn remove(&mut self, table: &str, name: &str) {
        let table = self.0.get_mut(table).and_then(Item::as_table_like_mut);
        let removed = table.and_then(|table| table.remove(name));
        assert!(removed.is_some(), "there is no {name}");
    }

    /// The same, and returns it.
    pub fn with(mut self, toml: &str) -> Settings {
        self.lay(toml);
        self
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.0.to_string()
    }
}

fn merge(base: &mut Table, over: &Table) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(Item::Table(base)), Item::Table(over)) => merge(base, over),
            _ => {
                base.insert(key, value.clone());
            }
        }
    }
}

/// A `[stores.NAME]` section for a store of the tests. It says what the store can do, so that the
/// server makes no probe.
pub fn store_section(name: &str, store: &Store) -> String {
    let (key, secret) = store.credentials();
    format!(
        r#"[stores.{name}]
endpoint = "{}"
region = "us-east-1"
path_style = true
access_key_id = "{key}"
secret_access_key = "{secret}"
checksums = "crc32"
conditional_writes = true
conditional_deletes = true
files_hide_directories = false
"#,
        store.endpoint()
    )
}

/// A `[users.NAME]` section. `mounts` is an inline table, such as `{ "/" = "main" }`.
pub fn user_section(name: &str, password: &str, mounts: &str) -> String {
    // bcrypt at its lowest cost: a login of a test takes no time.
    let hash = bcrypt::hash(password, 4).unwrap();
    format!("[users.{name}]\npassword = '{hash}'\nmounts = {mounts}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_merged_and_values_replaced() {
        let settings = Settings::default()
            .with(
                "listen = [\"a\"]\n[timeouts]\nidle = \"1s\"\n[stores.main]\nchecksums = \"crc32\"",
            )
            .with("[users.u]\nmounts = { \"/\" = \"main\" }")
            .with("stores.main.checksums = \"none\"\n[timeouts]\nlogin = 1\n# no more")
            .with("[users.u]\nmounts = { \"/in\" = \"main\" }\n[limits]\nsessions = 1");
        let text = settings.text();
        let read: DocumentMut = text.parse().unwrap();
        assert_eq!(read["listen"].to_string().trim(), "[\"a\"]");
        assert_eq!(read["timeouts"]["idle"].as_str(), Some("1s"));
        assert_eq!(read["timeouts"]["login"].as_integer(), Some(1));
        assert_eq!(read["stores"]["main"]["checksums"].as_str(), Some("none"));
        assert_eq!(read["limits"]["sessions"].as_integer(), Some(1));
        let mounts = read["users"]["u"]["mounts"].as_inline_table().unwrap();
        assert_eq!(mounts.len(), 1, "{text}");
    }
}
