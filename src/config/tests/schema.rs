//! What is made from the schema agrees with it: the reference page, the sample, the chart.

use std::path::{Path, PathBuf};

use crate::auth::Refused;
use crate::config::schema::keys::ROOT;
use crate::config::schema::{Fallback, Kind, TableSchema, json, markdown};

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_reference_page_shows_the_keys_of_the_schema() {
    let path = file("docs/reference/configuration.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let mut pieces = page.split("<!-- keys: ");
    let mut expected = pieces.next().unwrap().to_owned();
    let mut shown = Vec::new();
    for piece in pieces {
        let (name, rest) = piece.split_once(" -->").unwrap();
        let (_, after) = rest.split_once("<!-- end of keys -->").unwrap();
        let table_path = if name == "top level" { "" } else { name };
        let table = markdown::table(table_path).unwrap_or_else(|| panic!("no table {name}"));
        expected += &format!("<!-- keys: {name} -->\n\n{table}\n\n<!-- end of keys -->{after}");
        shown.push(table_path.to_owned());
    }
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    assert!(
        expected == page,
        "docs/reference/configuration.md differs from src/config/schema/keys; \
         UPDATE_REFERENCE=1 cargo test --lib the_reference_page writes it"
    );
    for key in ROOT.keys {
        let path = match key.kind {
            Kind::Table(_) => key.name.to_owned(),
            Kind::Named(_) => format!("{}.NAME", key.name),
            _ => continue,
        };
        assert!(shown.contains(&path), "{path} has no table on the page");
    }
}

#[test]
fn the_sample_names_every_key_of_the_schema() {
    let text = std::fs::read_to_string(file("s3ftpd.example.toml")).unwrap();
    for_each_table(&ROOT, &mut |table| {
        for key in table.keys {
            assert!(text.contains(key.name), "{} is not in the sample", key.name);
        }
    });
}

#[test]
fn the_log_names_keys_of_the_schema_for_refused_connections() {
    for reason in [
        Refused::Full,
        Refused::AddressFull,
        Refused::EarlyFull,
        Refused::EarlyAddressFull,
        Refused::Displaced,
        Refused::Banned,
    ] {
        let (section, key) = reason.key().split_once('.').unwrap();
        let table = ROOT.key(section).and_then(|section| section.kind.table());
        assert!(table.unwrap().key(key).is_some(), "{}", reason.key());
    }
}

#[test]
fn the_schema_describes_every_key() {
    for_each_table(&ROOT, &mut |table| {
        for key in table.keys {
            assert!(!key.about.is_empty(), "{}", key.name);
            assert!(!key.about.ends_with('.'), "{}: a phrase", key.name);
            assert!(!matches!(key.fallback, Fallback::Text("")), "{}", key.name);
        }
    });
}

#[test]
fn the_chart_s_schema_is_that_of_the_configuration() {
    let path = file("helm/s3ftpd/values.schema.json");
    let text = std::fs::read_to_string(path).unwrap();
    let chart: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut expected = json::document();
    // What the chart sets itself.
    let remove = |schema: &mut serde_json::Value, key: &str| {
        schema["properties"].as_object_mut().unwrap().remove(key);
    };
    for key in ["listen", "passive", "admin"] {
        remove(&mut expected, key);
    }
    remove(&mut expected["properties"]["timeouts"], "shutdown_grace");
    // Helm reads YAML 1.1, in which `on` without quotes is `true`.
    let hook = &mut expected["properties"]["events"]["additionalProperties"]["properties"];
    let mut on = hook["on"].clone();
    on["description"] = "`on` without quotes, as Helm reads it".into();
    hook["true"] = on;
    for (key, value) in expected["properties"].as_object().unwrap() {
        assert_eq!(
            &chart["properties"]["config"]["properties"][key], value,
            "{key}: `ci/chart_schema.py` writes the chart's schema from the configuration's"
        );
    }
    let names = |schema: &serde_json::Value| {
        let properties = schema["properties"].as_object().unwrap();
        properties.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(names(&chart["properties"]["config"]), names(&expected));
}

fn for_each_table(table: &'static TableSchema, visit: &mut impl FnMut(&'static TableSchema)) {
    visit(table);
    for key in table.keys {
        if let Some(below) = key.kind.table() {
            for_each_table(below, visit);
        }
    }
}
