//! What is wrong with a configuration, all of it, and the source of each value.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::server::inputs::Inputs;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, or `environment variable NAME`.
    pub source: String,
    /// The key's full path (`stores.main.endpoint`); empty if the whole source is meant.
    pub key: String,
    /// What is wrong. Never quotes a secret.
    pub problem: String,
    /// What is allowed instead; empty if `problem` says it all.
    pub allowed: String,
}

/// Everything that is wrong; displayed one error a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
    inputs: Inputs,
}

impl ConfigErrors {
    /// From the errors found, at least one.
    pub(super) fn new(errors: Vec<ConfigError>, inputs: Inputs) -> Self {
        ConfigErrors { errors, inputs }
    }

    /// What was read until the errors were found.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// The errors, in the order they were found.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.problem)?;
        if !self.allowed.is_empty() {
            write!(f, "; allowed: {}", self.allowed)?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.errors.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
impl std::error::Error for ConfigErrors {}

/// The errors found and the files read so far.
#[derive(Default)]
pub(super) struct Report {
    errors: RefCell<Vec<ConfigError>>,
    inputs: RefCell<Inputs>,
}

impl Report {
    /// Adds an error.
    pub(super) fn push(
        &self,
        source: &Source,
        key: &str,
        problem: impl Into<String>,
        allowed: impl Into<String>,
    ) {
        self.errors.borrow_mut().push(ConfigError {
            source: source.to_string(),
            key: key.to_owned(),
            problem: problem.into(),
            allowed: allowed.into(),
        });
    }

    /// Notes a file that is read.
    pub(super) fn note_file(&self, path: &Path) {
        self.inputs.borrow_mut().note_file(path);
    }

    /// Notes a directory that is read, and returns its pieces.
    pub(super) fn note_directory(&self, path: &Path) -> std::io::Result<Vec<PathBuf>> {
        self.inputs.borrow_mut().note_directory(path)
    }

    /// What was read.
    pub(super) fn inputs(&self) -> Inputs {
        self.inputs.borrow().clone()
    }

    /// The number of errors so far.
    pub(super) fn len(&self) -> usize {
        self.errors.borrow().len()
    }

    /// Fails if anything was wrong.
    pub(super) fn check(&self) -> Result<(), ConfigErrors> {
        let errors = self.errors.borrow();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(ConfigErrors::new(errors.clone(), self.inputs()))
        }
    }
}

/// Where a value was written.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A file, or all of them.
    File(Arc<str>),
    /// An environment variable.
    Variable(Arc<str>),
}

impl Source {
    /// The source of what is in none of the files.
    pub(super) fn of_files(files: &[PathBuf]) -> Self {
        if files.is_empty() {
            return Source::File("the environment (no file is given)".into());
        }
        let names: Vec<String> = files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        Source::File(names.join(", ").into())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(name) => f.write_str(name),
            Source::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}
