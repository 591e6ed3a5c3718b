//! `sweep`: reports interrupted uploads and leftovers, and removes the old ones.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio_util::task::TaskTracker;

use crate::cli::log::Log;
use crate::config;
use crate::memory::Budget;
use crate::object::{NameLocks, Store, StoreContext, SweepOptions, Unrecorded};
use crate::server::sweeper::Targets;

/// Arguments of `sweep`.
#[derive(Debug, Args)]
pub struct SweepArguments {
    /// TOML or (.yaml, .yml) YAML; a later file overrides an earlier one, the environment
    /// (S3FTPD__…) all of them
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub config: Vec<PathBuf>,
    /// Remove what has been idle for this time, such as 12h or 7d; default: resume.keep_for of the
    /// configuration. What no current record names stays for at least 24 h
    #[arg(long, value_name = "TIME", value_parser = crate::units::duration)]
    pub older_than: Option<Duration>,
    /// Report what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Sweep this bucket of a store, which no mount need have, and no other
    #[arg(long, value_name = "STORE:BUCKET", value_parser = store_and_bucket)]
    pub bucket: Option<(String, String)>,
    /// The bucket of its records and tails; default: the bucket itself
    #[arg(long, value_name = "BUCKET", requires = "bucket")]
    pub state_bucket: Option<String>,
    /// Also remove old multipart uploads that no record names: only if no other tool uploads to
    /// these buckets
    #[arg(long)]
    pub unrecorded: bool,
}

fn store_and_bucket(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((store, bucket)) if !store.is_empty() && !bucket.is_empty() => {
            Ok((store.to_owned(), bucket.to_owned()))
        }
        _ => Err("not the name of a store, a colon and the name of a bucket".to_owned()),
    }
}

/// Why a sweep failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SweepError {
    /// The configuration is wrong; the text lists all errors.
    #[error("{0}")]
    Configuration(String),
    /// The client of a store can't be built.
    #[error("store {name}: {reason}")]
    Store {
        /// The store's name in the configuration.
        name: String,
        /// Why.
        reason: String,
    },
    /// Some buckets could not be swept; the text is the report, with these buckets and their errors
    /// at its end.
    #[error("{0}")]
    Incomplete(String),
}

/// Sweeps all buckets, and returns the report.
///
/// # Errors
/// [`SweepError`]; the buckets that can be swept are swept, even if another one fails.
pub(super) async fn sweep(arguments: &SweepArguments, log: &Log) -> Result<String, SweepError> {
    let config = config::load(&arguments.config)
        .map_err(|errors| SweepError::Configuration(errors.to_string()))?;
    log.configure(&config.log);
    let context = StoreContext {
        budget: Budget::new(config.memory.budget),
        cleanups: TaskTracker::new(),
        transfer: config.transfer.clone(),
        replica: std::sync::Arc::default(),
        active_uploads: std::sync::Arc::default(),
        record_cache: std::sync::Arc::default(),
        names: NameLocks::default(),
        metrics: std::sync::Arc::default(),
    };
    let mut stores = BTreeMap::new();
    for (name, store) in &config.stores {
        let store = Box::pin(Store::new(store, context.clone()))
            .await
            .map_err(|error| SweepError::Store {
                name: name.clone(),
                reason: error.to_string(),
            })?;
        stores.insert(name.clone(), store);
    }
    let options = SweepOptions {
        older_than: arguments.older_than.unwrap_or(config.resume.keep_for),
        over_object: config.resume.keep_over_object,
        dry_run: arguments.dry_run,
        unrecorded: match arguments.unrecorded {
            true => Unrecorded::Remove,
            false => Unrecorded::Report,
        },
    };
    let targets = match &arguments.bucket {
        None => Targets::of(&config, &stores),
        Some((name, bucket)) => {
            let Some(store) = stores.get(name) else {
                let names: Vec<&str> = stores.keys().map(String::as_str).collect();
                return Err(SweepError::Configuration(format!(
                    "--bucket: there is no store {name:?}; allowed: {}",
                    names.join(", ")
                )));
            };
            let state_bucket = arguments.state_bucket.as_ref().unwrap_or(bucket);
            Targets::one(store, bucket, state_bucket)
        }
    };
    let (found, failed) = targets.sweep(&options).await;
    let mut text = String::new();
    for swept in &found {
        let did = match (swept.removed, arguments.dry_run) {
            (false, _) => "stays",
            (true, true) => "would be removed",
            (true, false) => "removed",
        };
        let user = match swept.user.as_str() {
            "" => String::new(),
            user => format!(" of {}", user.escape_debug()),
        };
        text.push_str(&format!(
            "{did}: {} {}/{}{user}, idle for {} s\n",
            swept.kind,
            swept.bucket,
            swept.key.escape_debug(),
            swept.age.as_secs()
        ));
    }
    let removed = found.iter().filter(|swept| swept.removed).count();
    let verb = if arguments.dry_run {
        "to remove"
    } else {
        "removed"
    };
    let unrecorded = match options.unrecorded_age() {
        age if age == options.older_than => String::new(),
        age => format!("; without a current record: {} s", age.as_secs()),
    };
    text.push_str(&format!(
        "{} found, {removed} {verb} (older than {} s{unrecorded})\n",
        found.len(),
        options.older_than.as_secs()
    ));
    if failed.is_empty() {
        return Ok(text);
    }
    for (label, error) in failed {
        text.push_str(&format!("{label} could not be swept: {error}\n"));
    }
    Err(SweepError::Incomplete(text))
}
