//! The tables of tests/README.md name tests that exist. (tests/documents.rs checks the links.)

use std::path::Path;

const README: &str = include_str!("../README.md");

/// The texts between `open` and `close`.
fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    let parts = text.split(open).skip(1);
    parts.filter_map(move |part| part.split_once(close).map(|(inner, _)| inner))
}

#[test]
fn each_test_in_the_tables_is_in_a_file_of_its_row() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let rows: Vec<&str> = README
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains("](it/"))
        .collect();
    let mut checked = 0;
    for row in rows {
        let sources: String = between(row, "](", ")")
            .map(|link| std::fs::read_to_string(tests.join(link)).unwrap())
            .collect();
        let names = row.split('`').skip(1).step_by(2);
        for name in names.filter(|name| !name.contains(' ')) {
            assert!(sources.contains(&format!("fn {name}(")), "{name} in {row}");
            checked += 1;
        }
    }
    assert!(checked >= 20, "only {checked} tests found in the tables");
}
