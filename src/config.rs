//! Configuration: files and environment → one validated [`ServerOptions`].
//!
//! Data flows through three stages, and every stage adds to one list of errors, so that the user
//! sees all of them at once and before a port is bound:
//!
//! 1. `tree`: each file (TOML or YAML) becomes a tree of values that know where they were written;
//!    a later file overrides an earlier one, key by key. `include` adds further files.
//! 2. `environment`: variables such as `S3FTPD__STORES__MAIN__ENDPOINT` override the tree.
//! 3. `decode` and `accounts`: the tree is read by the schema. A `section` remembers which keys it
//!    was asked for, so the list of allowed keys can't differ from what is read.
//!
//! No error and no `Debug` output shows a secret: parsers of secrets never quote what they read,
//! and a syntax error is reported without its line.

mod accounts;
mod attributes;
mod decode;
mod edge;
mod environment;
mod fingerprint;
mod hooks;
mod include;
mod log;
mod mounts;
mod names;
mod origins;
mod placeholders;
mod read;
mod references;
mod report;
mod schema;
mod secret;
mod section;
mod stores;
#[cfg(test)]
mod tests;
mod tls;
mod tree;
mod users;
mod values;
mod yaml_keys;

use std::ffi::OsString;
use std::path::PathBuf;

use crate::server::options::ServerOptions;

pub use origins::Origins;
pub use report::{ConfigError, ConfigErrors};

/// Reads the files, the later over the earlier, and the environment over them.
///
/// A file ending in `.yaml` or `.yml` is YAML, any other TOML. No file is needed if the
/// environment says everything.
///
/// # Errors
/// Everything that is wrong, in one value.
pub fn load(files: &[PathBuf]) -> Result<ServerOptions, ConfigErrors> {
    load_from(files, std::env::vars_os())
}

/// Reads one TOML text; `name` stands for the file in errors. The environment overrides nothing.
///
/// # Errors
/// Everything that is wrong, in one value.
pub fn from_str(toml: &str, name: &str) -> Result<ServerOptions, ConfigErrors> {
    let report = report::Report::default();
    let source = report::Source::File(name.into());
    let mut root = tree::parse(toml, tree::Format::Toml, &source, &report);
    include::resolve(&mut root, None, &report);
    report.check()?;
    decode::decode(tree::Node::table(source, root), &report)
}

/// The configuration as a JSON Schema (draft 2020-12).
pub fn schema() -> String {
    format!("{:#}", schema::json::document())
}

/// [`load`], and the origins of the keys of one user.
///
/// # Errors
/// Everything that is wrong, in one value.
pub fn load_with_origins(
    files: &[PathBuf],
    user: &str,
) -> Result<(ServerOptions, Origins), ConfigErrors> {
    let report = report::Report::default();
    let root = compose(files, std::env::vars_os(), &report)?;
    let origins = Origins::of(&root, user);
    let tree = tree::Node::table(report::Source::of_files(files), root);
    Ok((decode::decode(tree, &report)?, origins))
}

/// [`load`] with the environment as an argument, for tests.
fn load_from(
    files: &[PathBuf],
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<ServerOptions, ConfigErrors> {
    let report = report::Report::default();
    let root = compose(files, variables, &report)?;
    let tree = tree::Node::table(report::Source::of_files(files), root);
    decode::decode(tree, &report)
}

/// Reads the files, what they include, and the environment.
fn compose(
    files: &[PathBuf],
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    report: &report::Report,
) -> Result<tree::Table, ConfigErrors> {
    let mut root = tree::Table::new();
    for file in files {
        tree::merge(&mut root, tree::read(file, report));
    }
    let variables: Vec<_> = variables.into_iter().collect();
    let mut alone = tree::Table::new();
    environment::apply(&mut alone, variables.clone(), &report::Report::default());
    include::resolve(&mut root, alone.remove(include::INCLUDE), report);
    environment::apply(&mut root, variables, report);
    root.remove(include::INCLUDE);
    // What can't be parsed would only be followed by errors about keys that seem to be missing.
    report.check()?;
    Ok(root)
}
