//! `import`: users of another FTP server → files of the configuration, one a user.
//!
//! A reader for each server turns its files into [`Found`]: users, what is about the
//! server, and what can't be carried over. `toml` tries each piece with the configuration's own
//! reader, and `output` writes the files. A user of whom a restriction is lost is disabled, so that
//! no import gives a user more rights than before. No message shows a password or a hash.

mod htpasswd;
mod output;
mod passwd;
mod proftpd;
mod pure_ftpd;
mod sftpgo;
mod source;
#[cfg(test)]
mod tests;
mod toml;
mod user;
mod vsftpd;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::output::{FAILURE, NOT_CARRIED_OVER, USAGE, failed, print};
use output::Existing;
use source::{SourceFile, shown};
use toml::{ImportedFile, UserHome};
use user::{Found, ImportedUser};

/// The most errors that are listed.
const MOST_ERRORS: usize = 20;

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct ImportArguments {
    /// Whose files they are
    #[arg(value_name = "SERVER")]
    pub from: ImportedServer,
    /// The server's files; for vsftpd also the directory user_config_dir
    #[arg(value_name = "FILE", num_args = 1.., required_unless_present = "virtual_users")]
    pub files: Vec<PathBuf>,
    /// The directory to write to, for `include` of the configuration
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// The mount at / of each user; a mount of the configuration
    #[arg(long, value_name = "NAME", conflicts_with = "group")]
    pub mount: Option<String>,
    /// The group of each user, which has the mounts; a group of the configuration
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// For vsftpd: names and passwords in turn, one a line, as db_load -T reads them
    #[arg(long, value_name = "FILE")]
    pub virtual_users: Vec<PathBuf>,
    /// Replace files that exist
    #[arg(long)]
    pub force: bool,
}

/// A server whose files can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportedServer {
    /// /etc/passwd and /etc/shadow
    Passwd,
    /// vsftpd.conf, its lists of users, and the files of its users
    Vsftpd,
    /// AuthUserFile, AuthGroupFile, proftpd.conf
    Proftpd,
    /// pureftpd.passwd
    PureFtpd,
    /// A JSON dump (dumpdata)
    Sftpgo,
    /// Files of Apache's htpasswd
    Htpasswd,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
enum ImportError {
    /// The arguments do not fit together.
    #[error("{0}")]
    Usage(&'static str),
    /// The files are wrong, a line each.
    #[error("{}", listed(.0))]
    Files(Vec<String>),
    /// The files can't be written.
    #[error("{0}")]
    Output(#[from] output::OutputError),
}

/// What was written.
struct Imported {
    /// For standard output.
    summary: String,
    /// For standard error: what was not carried over.
    lost: String,
}

/// Imports, unless `shutdown` comes first.
pub(super) async fn run(arguments: ImportArguments, shutdown: CancellationToken) -> ExitCode {
    // It reads and writes files, and a signal must still end it.
    let importing = tokio::task::spawn_blocking(move || import(&arguments));
    let imported = tokio::select! {
        () = shutdown.cancelled() => return ExitCode::from(FAILURE),
        imported = importing => imported,
    };
    match imported {
        Ok(Ok(imported)) => {
            let printed = print(&imported.summary);
            match imported.lost.as_str() {
                "" => printed,
                lost => failed(NOT_CARRIED_OVER, lost.trim_end()),
            }
        }
        Ok(Err(error @ ImportError::Usage(_))) => failed(USAGE, &error.to_string()),
        Ok(Err(error)) => failed(FAILURE, &error.to_string()),
        Err(error) => failed(FAILURE, &error.to_string()),
    }
}

fn import(arguments: &ImportArguments) -> Result<Imported, ImportError> {
    let place = match (&arguments.mount, &arguments.group) {
        (Some(mount), _) => UserHome::Mount(mount.clone()),
        (None, Some(group)) => UserHome::Group(group.clone()),
        (None, None) if arguments.from == ImportedServer::Sftpgo => UserHome::None,
        (None, None) => {
            return Err(ImportError::Usage(
                "give --mount NAME, the mount of the users, or --group NAME, a group with mounts",
            ));
        }
    };
    if !arguments.virtual_users.is_empty() && arguments.from != ImportedServer::Vsftpd {
        return Err(ImportError::Usage("--virtual-users is for vsftpd"));
    }
    let found = find(arguments).map_err(ImportError::Files)?;
    check(&found.users).map_err(ImportError::Files)?;
    let pieces = toml::pieces(found, &place).map_err(ImportError::Files)?;
    let names = output::file_names(&pieces);
    let existing = match arguments.force {
        true => Existing::Replace,
        false => Existing::Keep,
    };
    output::write(&arguments.output, &pieces, &names, existing)?;
    Ok(report(&arguments.output, &pieces, &names))
}

/// Reads the files of the server.
fn find(arguments: &ImportArguments) -> Result<Found, Vec<String>> {
    let mut files = Vec::new();
    let mut single = Vec::new();
    let mut wrong = Vec::new();
    for path in &arguments.files {
        let of_vsftpd = arguments.from == ImportedServer::Vsftpd;
        match path.is_dir() && of_vsftpd {
            true => match directory(path) {
                Ok(mut files) => single.append(&mut files),
                Err(error) => wrong.push(error),
            },
            false => match file(path) {
                Ok(file) => files.push(file),
                Err(error) => wrong.push(error),
            },
        }
    }
    let mut virtual_users = Vec::new();
    for path in &arguments.virtual_users {
        match file(path) {
            Ok(file) => virtual_users.push(file),
            Err(error) => wrong.push(error),
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    match arguments.from {
        ImportedServer::Passwd => passwd::read(&files),
        ImportedServer::Vsftpd => vsftpd::read(files, &single, &virtual_users),
        ImportedServer::Proftpd => proftpd::read(files),
        ImportedServer::PureFtpd => pure_ftpd::read(&files),
        ImportedServer::Sftpgo => sftpgo::read(&files),
        ImportedServer::Htpasswd => htpasswd::read(&files),
    }
}

fn file(path: &Path) -> Result<SourceFile, String> {
    let name = path.display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => Ok(SourceFile { name, bytes }),
        Err(error) => Err(format!("{}: can't be read: {error}", shown(&name))),
    }
}

/// The files of a directory, in the order of their names, without hidden ones.
fn directory(path: &Path) -> Result<Vec<SourceFile>, String> {
    let entries =
        std::fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.map_err(|error| format!("{}: can't be read: {error}", path.display()))?;
    let mut paths: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
    paths.sort();
    let is_hidden = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.as_encoded_bytes());
        name.is_some_and(|name| name.starts_with(b"."))
    };
    let paths = paths
        .into_iter()
        .filter(|path| !is_hidden(path) && path.is_file());
    paths.map(|path| file(&path)).collect()
}

/// Checks that there are users, each of them once.
fn check(users: &[ImportedUser]) -> Result<(), Vec<String>> {
    if users.is_empty() {
        return Err(vec!["the files have no user".to_owned()]);
    }
    let mut origins: HashMap<&str, &str> = HashMap::new();
    let mut wrong = Vec::new();
    for user in users {
        if let Some(before) = origins.insert(&user.name, &user.origin) {
            wrong.push(passwd::twice(&user.name, before, &user.origin));
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong),
    }
}

/// Errors, one a line; of many the first ones.
fn listed(errors: &[String]) -> String {
    let mut text = errors[..errors.len().min(MOST_ERRORS)].join("\n");
    if errors.len() > MOST_ERRORS {
        let _ = write!(text, "\n… and {} more", errors.len() - MOST_ERRORS);
    }
    text
}

/// What was written, and what was not carried over.
fn report(directory: &Path, pieces: &[ImportedFile], names: &[String]) -> Imported {
    let users = pieces.iter().filter(|piece| piece.user.is_some()).count();
    let incomplete = pieces.iter().filter(|piece| !piece.lost.is_empty()).count();
    let summary = format!(
        "wrote {} files to {}: {users} users; {incomplete} files list what was not carried over\n",
        pieces.len(),
        directory.display()
    );
    let mut lost = String::new();
    for (piece, name) in pieces.iter().zip(names) {
        for line in &piece.lost {
            let _ = match &piece.user {
                Some(user) => writeln!(lost, "{name}: {:?}: {}", shown(user), shown(line)),
                None => writeln!(lost, "{name}: {}", shown(line)),
            };
        }
    }
    Imported { summary, lost }
}
