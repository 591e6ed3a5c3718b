//! The options of `vsftpd.conf`, and the keys that they become.

use std::collections::BTreeMap;

use crate::cli::import::source::{SourceFile, comment, shown, text};
use crate::cli::import::toml::quoted;
use crate::cli::import::user::{ImportedUser, ServerPart};

/// Options by name, with the line of each.
#[derive(Default)]
pub(super) struct VsftpdOptions {
    values: BTreeMap<String, (String, String)>,
    /// The file.
    pub(super) origin: String,
}

/// Options that have no counterpart and need none: they are about a disk, processes, accounts of
/// the system or logs, or are what the server does always.
const WITHOUT_EFFECT: &[&str] = &[
    "allow_writeable_chroot",
    "async_abor_enable",
    "background",
    "check_shell",
    "chmod_enable",
    "chroot_list_enable",
    "chroot_list_file",
    "chroot_local_user",
    "debug_ssl",
    "delay_successful_login",
    "delete_failed_uploads",
    "dirmessage_enable",
    "dual_log_enable",
    "file_open_mode",
    "force_dot_files",
    "guest_enable",
    "guest_username",
    "hide_ids",
    "isolate",
    "isolate_network",
    "listen",
    "listen_ipv6",
    "local_enable",
    "local_umask",
    "lock_upload_files",
    "log_ftp_protocol",
    "ls_recurse_enable",
    "message_file",
    "no_log_lock",
    "nopriv_user",
    "one_process_model",
    "pam_service_name",
    "passwd_chroot_enable",
    "pasv_addr_resolve",
    "pasv_enable",
    "port_enable",
    "run_as_launching_user",
    "seccomp_sandbox",
    "secure_chroot_dir",
    "session_support",
    "setproctitle_enable",
    "syslog_enable",
    "tcp_wrappers",
    "text_userdb_names",
    "tilde_user_enable",
    "trans_chunk_size",
    "use_localtime",
    "use_sendfile",
    "user_config_dir",
    "user_sub_token",
    "userlist_deny",
    "userlist_enable",
    "userlist_file",
    "utf8_filesystem",
    "virtual_use_local_privs",
    "vsftpd_log_file",
    "xferlog_std_format",
    "reverse_lookup_enable",
];

/// Options of anonymous users, who are lost as a whole.
const ANONYMOUS: &[&str] = &[
    "anon_max_rate",
    "anon_mkdir_write_enable",
    "anon_other_write_enable",
    "anon_root",
    "anon_umask",
    "anon_upload_enable",
    "anon_world_readable_only",
    "banned_email_file",
    "chown_upload_mode",
    "chown_uploads",
    "chown_username",
    "deny_email_enable",
    "email_password_file",
    "force_anon_data_ssl",
    "force_anon_logins_ssl",
    "allow_anon_ssl",
    "ftp_username",
    "no_anon_password",
    "secure_email_list_enable",
];

/// Options of TLS, which needs files that the server reads: what each becomes.
const TLS: &[(&str, &str)] = &[
    ("ssl_enable", "[tls]"),
    ("rsa_cert_file", "tls.certificate"),
    ("rsa_private_key_file", "tls.key"),
    ("force_local_logins_ssl", "tls.control = \"required\""),
    ("force_local_data_ssl", "tls.data = \"required\""),
    (
        "implicit_ssl",
        "listen = [{ address = \"…\", tls = \"implicit\" }]",
    ),
    ("require_ssl_reuse", "tls.require_session_reuse"),
    ("ssl_request_cert", "tls.client_certificates"),
    ("require_cert", "tls.client_certificates"),
    ("validate_cert", "tls.client_certificates"),
    ("ca_certs_file", "tls.client_ca"),
];

/// Options of what users may do, their defaults, and what stands for them if they are off.
const RIGHTS: &[(&str, bool, &str)] = &[
    (
        "write_enable",
        false,
        "the mount needs permissions = [\"list\", \"read\"]",
    ),
    (
        "download_enable",
        true,
        "the mount needs permissions without \"read\"",
    ),
    (
        "dirlist_enable",
        true,
        "the mount needs permissions without \"list\"",
    ),
];

/// Numbers that are keys: option, table, key.
const NUMBERS: &[(&str, &str, &str)] = &[
    ("max_clients", "limits", "sessions"),
    ("max_per_ip", "limits", "sessions_per_address"),
    ("max_login_fails", "limits", "login_attempts"),
    ("idle_session_timeout", "timeouts", "idle"),
    ("data_connection_timeout", "timeouts", "data_stall"),
    ("accept_timeout", "timeouts", "data_connect"),
    ("delay_failed_login", "login_failures", "delay"),
];

impl VsftpdOptions {
    /// Reads a file of lines `option=value`.
    pub(super) fn read(file: &SourceFile) -> Result<VsftpdOptions, Vec<String>> {
        let mut values = BTreeMap::new();
        let mut wrong = Vec::new();
        for (number, line) in file.lines() {
            let line = text(line);
            let place = file.line(number);
            match line.split_once('=') {
                Some((key, value)) => {
                    let value = (value.trim().to_owned(), place);
                    values.insert(key.trim().to_owned(), value);
                }
                None => wrong.push(format!("{place}: is not of the form option=value")),
            }
        }
        let origin = shown(&file.name);
        match wrong.is_empty() {
            true => Ok(VsftpdOptions { values, origin }),
            false => Err(wrong),
        }
    }

    /// Lays other options over these.
    pub(super) fn merge(&mut self, over: VsftpdOptions) {
        self.values.extend(over.values);
        self.origin = over.origin;
    }

    /// The value of an option.
    pub(super) fn get(&self, option: &str) -> Option<&str> {
        self.values.get(option).map(|(value, _)| value.as_str())
    }

    /// The value of an option that is on or off.
    pub(super) fn is_on(&self, option: &str, default: bool) -> bool {
        match self.get(option) {
            Some(value) => matches!(value.to_ascii_uppercase().as_str(), "YES" | "TRUE" | "1"),
            None => default,
        }
    }

    fn number(&self, option: &str) -> Option<u64> {
        self.get(option)?.parse().ok().filter(|number| *number > 0)
    }

    /// Applies what is about users; `own` are the options of the user alone.
    pub(super) fn apply_to(&self, user: &mut ImportedUser, own: Option<&VsftpdOptions>) {
        let of_both = |option: &str| {
            own.and_then(|own| own.get(option))
                .or_else(|| self.get(option))
        };
        if let Some(rate) = of_both("local_max_rate").and_then(|rate| rate.parse().ok())
            && rate > 0
        {
            user.upload_rate = Some(rate);
            user.download_rate = Some(rate);
            let note = "the rate was that of each session, and is that of all sessions together";
            user.notes.push(note.to_owned());
        }
        if let Some(root) = of_both("local_root") {
            let token = self.get("user_sub_token").filter(|token| !token.is_empty());
            let root = token.map_or(root.to_owned(), |token| root.replace(token, &user.name));
            user.notes
                .push(format!("the files were below {root} (local_root)"));
        }
        let Some(own) = own else { return };
        for (option, (value, _)) in &own.values {
            let right = RIGHTS.iter().find(|(name, _, _)| name == option);
            let what = format!("{option}={value}");
            match option.as_str() {
                "local_max_rate" | "local_root" => {}
                "max_clients" | "max_per_ip" => user.lose(what),
                _ if let Some((_, default, advice)) = right => {
                    let others = self.is_on(option, *default);
                    match (own.is_on(option, *default), others) {
                        (false, true) => user.lose_restriction(format!("{what}: {advice}")),
                        (true, false) => user.lose(format!("{what}: more than others may do")),
                        _ => {}
                    }
                }
                option if WITHOUT_EFFECT.contains(&option) || ANONYMOUS.contains(&option) => {}
                "hide_file" | "deny_file" | "cmds_allowed" | "cmds_denied" => {
                    user.lose_restriction(what);
                }
                _ => user.lose(what),
            }
        }
    }

    /// Applies what is about the server.
    pub(super) fn apply_to_server(&self, server: &mut ServerPart) {
        if self.values.is_empty() {
            return;
        }
        for (option, table, key) in NUMBERS {
            if let Some(number) = self.number(option) {
                server.set(table, key, number.to_string());
            }
        }
        self.listen(server);
        self.passive(server);
        if let Some(banner) = self.get("ftpd_banner").and_then(comment) {
            server.set("", "greeting", quoted(&banner));
        }
        if self.is_on("xferlog_enable", false) && self.is_on("xferlog_std_format", false) {
            let file = self.get("xferlog_file").unwrap_or("/var/log/xferlog");
            server.set("log", "xferlog", quoted(file));
        }
        if !self.is_on("connect_from_port_20", false) {
            server.set("active", "source_port", "0".to_owned());
        } else if let Some(port) = self.number("ftp_data_port") {
            server.set("active", "source_port", port.to_string());
        }
        // vsftpd lets anonymous users in if its file does not say otherwise.
        if self.is_on("anonymous_enable", true) {
            let what = "anonymous_enable: make a user named \"anonymous\", with a password that you publish";
            server.lost.push(what.to_owned());
        }
        if self.is_on("guest_enable", false) && !self.is_on("virtual_use_local_privs", false) {
            let what = "guest_enable without virtual_use_local_privs: virtual users had the rights of anonymous ones (anon_…), which are now the permissions of the mount";
            server.lost.push(what.to_owned());
        }
        for (option, default, advice) in RIGHTS {
            if !self.is_on(option, *default) {
                let value = self.get(option).unwrap_or("NO");
                server.lost.push(format!("{option}={value}: {advice}"));
            }
        }
        for (option, (value, place)) in &self.values {
            self.rest(option, value, place, server);
        }
        server
            .notes
            .push("every user sees only their mounts, as with chroot_local_user=YES".to_owned());
    }

    fn listen(&self, server: &mut ServerPart) {
        let port = self.number("listen_port").unwrap_or(21);
        let given = ["listen_port", "listen_address", "listen_address6"];
        if !given.iter().any(|option| self.get(option).is_some()) {
            server.notes.push(
                "vsftpd listened on port 21; s3ftpd does on 2121 unless `listen` says otherwise"
                    .to_owned(),
            );
            return;
        }
        let v4 = self
            .get("listen_address")
            .map(|address| format!("{address}:{port}"));
        let v6 = self
            .get("listen_address6")
            .map(|address| format!("[{address}]:{port}"));
        let mut addresses: Vec<String> = v4.into_iter().chain(v6).collect();
        if addresses.is_empty() {
            addresses.push(format!("0.0.0.0:{port}"));
            if self.is_on("listen_ipv6", false) {
                addresses.push(format!("[::]:{port}"));
            }
        }
        let addresses: Vec<String> = addresses.iter().map(|address| quoted(address)).collect();
        server.set("", "listen", format!("[{}]", addresses.join(", ")));
    }

    fn passive(&self, server: &mut ServerPart) {
        let ports = (self.number("pasv_min_port"), self.number("pasv_max_port"));
        if let (Some(first), Some(last)) = ports {
            server.set("passive", "ports", quoted(&format!("{first}-{last}")));
        }
        if let Some(address) = self.get("pasv_address") {
            server.set("passive", "address", quoted(address));
        }
    }

    /// Lists an option that nothing else has taken.
    fn rest(&self, option: &str, value: &str, place: &str, server: &mut ServerPart) {
        let taken = [
            "listen_port",
            "listen_address",
            "listen_address6",
            "pasv_min_port",
            "pasv_max_port",
            "pasv_address",
            "ftpd_banner",
            "xferlog_enable",
            "xferlog_file",
            "connect_from_port_20",
            "ftp_data_port",
            "anonymous_enable",
            "local_max_rate",
            "local_root",
        ];
        let is_taken = taken.contains(&option)
            || NUMBERS.iter().any(|(name, _, _)| *name == option)
            || RIGHTS.iter().any(|(name, _, _)| *name == option)
            || WITHOUT_EFFECT.contains(&option)
            || ANONYMOUS.contains(&option);
        if is_taken {
            return;
        }
        let is_off = matches!(
            value.to_ascii_uppercase().as_str(),
            "NO" | "FALSE" | "0" | ""
        );
        let tls = TLS.iter().find(|(name, _)| *name == option);
        let advice = match (option, tls) {
            _ if option.starts_with("ssl_") && tls.is_none() => return,
            (_, Some(_)) if !self.is_on("ssl_enable", false) || is_off => return,
            (_, Some((_, key))) => format!(": {key}"),
            ("ascii_upload_enable" | "ascii_download_enable", _) if is_off => return,
            ("ascii_upload_enable" | "ascii_download_enable", _) => {
                ": ascii = \"convert\" in the mount".to_owned()
            }
            ("mdtm_write", _) if is_off => return,
            ("mdtm_write", _) => ": times = \"metadata\" in the mount".to_owned(),
            ("connect_timeout", _) => ": timeouts.data_connect is for both directions".to_owned(),
            ("banner_file", _) => ": greeting, one line".to_owned(),
            (
                "pasv_promiscuous"
                | "port_promiscuous"
                | "strict_ssl_read_eof"
                | "strict_ssl_write_shutdown",
                _,
            ) if is_off => return,
            _ => String::new(),
        };
        server
            .lost
            .push(format!("{option}={value}{advice} ({place})"));
    }
}
