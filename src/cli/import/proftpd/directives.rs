//! The directives of `proftpd.conf`, and the keys that they become.

use std::collections::BTreeSet;

use crate::cli::import::source::{SourceFile, comment, shown, text};
use crate::cli::import::toml::quoted;
use crate::cli::import::user::ServerPart;

/// What was read.
#[derive(Default)]
pub(super) struct Directives {
    /// Those of the server itself.
    all: Vec<Directive>,
    /// Who may log in.
    pub(super) login: LoginLimits,
    /// Sections that have no counterpart.
    lost: Vec<String>,
}

/// `<Limit LOGIN>`.
#[derive(Default)]
pub(super) struct LoginLimits {
    /// `DenyUser`.
    pub(super) deny_users: BTreeSet<String>,
    /// `DenyGroup`.
    pub(super) deny_groups: BTreeSet<String>,
    /// `AllowUser`.
    pub(super) allow_users: BTreeSet<String>,
    /// `AllowGroup`.
    pub(super) allow_groups: BTreeSet<String>,
    /// `DenyAll`.
    pub(super) deny_all: bool,
    /// The place of a rule that can't be carried over.
    pub(super) unclear: Option<String>,
}

/// A line of the file.
struct Directive {
    /// In lower case.
    name: String,
    words: Vec<String>,
    line: String,
    place: String,
}

/// Directives that have no counterpart and need none: they are about a disk, processes, accounts of
/// the system or logs, or are what the server does always.
const WITHOUT_EFFECT: &[&str] = &[
    "allowlogsymlinks",
    "allowretrieverestart",
    "allowstorerestart",
    "authgroupfile",
    "authorder",
    "authpam",
    "authpamconfig",
    "authuserfile",
    "commandbuffersize",
    "controlsacls",
    "controlsengine",
    "controlsinterval",
    "controlslog",
    "controlsmaxclients",
    "controlssocket",
    "createhome",
    "debuglevel",
    "defaultroot",
    "defaultserver",
    "deferwelcome",
    "delayengine",
    "dirfakegroup",
    "dirfakemode",
    "dirfakeuser",
    "extendedlog",
    "group",
    "hiddenstores",
    "identlookups",
    "listoptions",
    "loadmodule",
    "logformat",
    "modulepath",
    "multilinerfc2228",
    "persistentpasswd",
    "pidfile",
    "quotaengine",
    "requirevalidshell",
    "scoreboardfile",
    "scoreboardmutex",
    "serveradmin",
    "serverlog",
    "servername",
    "servertype",
    "setenv",
    "showsymlinks",
    "sqlengine",
    "syncscoreboard",
    "syslogfacility",
    "sysloglevel",
    "systemlog",
    "timeoutnotransfer",
    "timeoutsession",
    "timesgmt",
    "tracelog",
    "trace",
    "umask",
    "useencoding",
    "useftpusers",
    "useipv6",
    "usereversedns",
    "user",
    "usesendfile",
    "wtmplog",
    "rootlogin",
    "displaylogin",
    "displaychdir",
    "deleteabortedstores",
];

/// Numbers that are keys: directive, table, key.
const NUMBERS: &[(&str, &str, &str)] = &[
    ("maxinstances", "limits", "sessions"),
    ("maxclients", "limits", "sessions"),
    ("maxclientsperhost", "limits", "sessions_per_address"),
    ("maxconnectionsperhost", "limits", "sessions_per_address"),
    ("maxclientsperuser", "limits", "sessions_per_user"),
    ("maxloginattempts", "limits", "login_attempts"),
    ("timeoutidle", "timeouts", "idle"),
    ("timeoutlogin", "timeouts", "login"),
    ("timeoutstalled", "timeouts", "data_stall"),
];

/// Directives with a counterpart that depends on more than the file says.
const ADVICE: &[(&str, &str)] = &[
    ("tlsengine", "[tls]"),
    ("tlsrsacertificatefile", "tls.certificate"),
    ("tlsrsacertificatekeyfile", "tls.key"),
    ("tlseccertificatefile", "tls.certificate"),
    ("tlseccertificatekeyfile", "tls.key"),
    ("tlsrequired", "tls.control and tls.data"),
    ("tlsprotocol", "tls.min_version"),
    ("tlscacertificatefile", "tls.client_ca"),
    ("tlsverifyclient", "tls.client_certificates"),
    (
        "allowoverwrite",
        "the mount needs permissions without \"overwrite\" and \"append\"",
    ),
    ("displayconnect", "greeting, one line"),
    ("include", "the file is not followed: give it too"),
    (
        "transferrate",
        "upload_rate and download_rate of groups and users",
    ),
];

impl Directives {
    /// Reads a file.
    pub(super) fn read(&mut self, file: &SourceFile) {
        // Sections that are open: whether each is lost, is `<Limit LOGIN>`, or is transparent.
        let mut open: Vec<Enclosing> = Vec::new();
        for (number, line) in file.lines() {
            let line = text(line).trim().to_owned();
            let place = file.line(number);
            if let Some(section) = line.strip_prefix('<') {
                let section = section.trim_end_matches('>').trim();
                if section.starts_with('/') {
                    open.pop();
                    continue;
                }
                let kind =
                    Enclosing::of(section, open.last().copied().unwrap_or(Enclosing::Server));
                let is_new = open.last() != Some(&Enclosing::Lost);
                if kind == Enclosing::Lost && is_new {
                    self.lost.push(format!("<{}> ({place})", shown(section)));
                }
                open.push(kind);
                continue;
            }
            let mut words = words(&line).into_iter();
            let Some(name) = words.next().map(|name| name.to_lowercase()) else {
                continue;
            };
            let words = words.collect();
            let directive = Directive {
                name,
                words,
                line,
                place,
            };
            match open.last().copied().unwrap_or(Enclosing::Server) {
                Enclosing::Server => self.all.push(directive),
                Enclosing::Login => self.login.add(&directive),
                Enclosing::Lost => {}
            }
        }
    }

    /// Applies what is about the server.
    pub(super) fn apply_to_server(&self, server: &mut ServerPart) {
        server.lost.extend(self.lost.iter().cloned());
        if self.all.is_empty() && self.lost.is_empty() {
            return;
        }
        if !self
            .all
            .iter()
            .any(|directive| directive.name == "allowoverwrite")
        {
            let what = "AllowOverwrite is off unless it is set: the mount needs permissions without \"overwrite\" and \"append\"";
            server.lost.push(what.to_owned());
        }
        for directive in &self.all {
            directive.apply_to(server);
        }
        let note = "every user sees only their mounts, as with DefaultRoot ~";
        server.notes.push(note.to_owned());
    }
}

/// Where a line stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Enclosing {
    /// It is about the server itself.
    Server,
    /// In `<Limit LOGIN>`.
    Login,
    /// In a section that can't be carried over.
    Lost,
}

impl Enclosing {
    /// The place of the lines in a section.
    fn of(section: &str, around: Enclosing) -> Enclosing {
        let mut words = section.split_whitespace();
        let name = words.next().unwrap_or_default().to_lowercase();
        let limits: Vec<String> = words.map(str::to_uppercase).collect();
        match (around, name.as_str()) {
            (Enclosing::Lost, _) => Enclosing::Lost,
            (around, "ifmodule" | "ifdefine" | "ifversion" | "global") => around,
            (Enclosing::Server, "limit") if limits == ["LOGIN"] => Enclosing::Login,
            _ => Enclosing::Lost,
        }
    }
}

impl LoginLimits {
    /// Checks that the members of each group are known.
    pub(super) fn look_up(&mut self, is_known: impl Fn(&str) -> bool) {
        let mut named = self.deny_groups.iter().chain(&self.allow_groups);
        if let Some(group) = named.find(|group| !is_known(group)) {
            let group = shown(group);
            self.unclear = Some(format!("the group {group} is not in the files"));
        }
    }

    fn add(&mut self, directive: &Directive) {
        let lists = match directive.name.as_str() {
            "denyuser" => &mut self.deny_users,
            "denygroup" => &mut self.deny_groups,
            "allowuser" => &mut self.allow_users,
            "allowgroup" => &mut self.allow_groups,
            "denyall" => {
                self.deny_all = true;
                return;
            }
            "allowall" => return,
            "order" => {
                // Its default is allow, deny.
                if !directive.words.concat().eq_ignore_ascii_case("allow,deny") {
                    self.unclear = Some(directive.place.clone());
                }
                return;
            }
            _ => {
                self.unclear = Some(directive.place.clone());
                return;
            }
        };
        // A list of several groups means all of them, `!` the others, a word before them a pattern.
        let is_plain = |word: &String| {
            let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
            word.chars().all(plain)
        };
        match directive.words.as_slice() {
            [name] if is_plain(name) => {
                lists.insert(name.clone());
            }
            _ => self.unclear = Some(directive.place.clone()),
        }
    }
}

impl Directive {
    fn apply_to(&self, server: &mut ServerPart) {
        let first = self.words.first().map_or("", String::as_str);
        if let Some((_, table, key)) = NUMBERS.iter().find(|(name, _, _)| *name == self.name) {
            match first.parse::<u64>() {
                Ok(number) if number > 0 => server.set(table, key, number.to_string()),
                // 0 and none: no limit.
                _ => {}
            }
            return;
        }
        match self.name.as_str() {
            "port" if first != "0" => {
                server.set(
                    "",
                    "listen",
                    format!("[{}]", quoted(&format!("0.0.0.0:{first}"))),
                );
            }
            "passiveports" if self.words.len() == 2 => {
                let ports = format!("{}-{}", self.words[0], self.words[1]);
                server.set("passive", "ports", quoted(&ports));
            }
            "masqueradeaddress" => server.set("passive", "address", quoted(first)),
            "serverident" => {
                let banner = self.words.get(1).and_then(|banner| comment(banner));
                if let Some(banner) = banner {
                    server.set("", "greeting", quoted(&banner));
                }
            }
            "transferlog" if !first.eq_ignore_ascii_case("none") => {
                server.set("log", "xferlog", quoted(first));
            }
            "transferlog" => {}
            "allowoverwrite" | "tlsengine" if is_on(first) == (self.name == "allowoverwrite") => {}
            name if WITHOUT_EFFECT.contains(&name) => {}
            "ratios" | "adminacls" | "admincontrolsengine" if !is_on(first) => {}
            name => {
                let advice = ADVICE.iter().find(|(other, _)| *other == name);
                let advice = advice.map_or(String::new(), |(_, advice)| format!(": {advice}"));
                // Not its words: they can be a password (SQLConnectInfo).
                let written = self.line.split_whitespace().next().unwrap_or(name);
                server
                    .lost
                    .push(format!("{}{advice} ({})", shown(written), self.place));
            }
        }
    }
}

fn is_on(word: &str) -> bool {
    matches!(word.to_lowercase().as_str(), "on" | "yes" | "true" | "1")
}

/// The words of a line; quotes hold several together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            letter if letter.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            letter => word.push(letter),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}
