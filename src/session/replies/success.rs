//! The replies to commands that succeed. Replies of several lines (FEAT, HELP, STAT, MLST) are
//! data, and are made by their handlers.

use std::net::Ipv4Addr;

use ftp_proto::Reply;
use ftp_proto::command::{HashName, TransferType};

use crate::namespace::VirtualPath;

// Logging in and TLS.

pub(in crate::session) fn greeting(text: &str) -> Reply {
    Reply::new(220, text)
}

pub(in crate::session) fn goodbye() -> Reply {
    Reply::new(221, "Goodbye")
}

pub(in crate::session) fn reinitialised() -> Reply {
    Reply::new(220, "Ready for a new user")
}

pub(in crate::session) fn password_wanted() -> Reply {
    Reply::new(331, "Send the password")
}

pub(in crate::session) fn logged_in() -> Reply {
    Reply::new(230, "Logged in")
}

/// RFC 2228: authorised by the security data exchange.
pub(in crate::session) fn logged_in_by_certificate() -> Reply {
    Reply::new(232, "Logged in by the client certificate")
}

pub(in crate::session) fn no_account_needed() -> Reply {
    Reply::new(202, "No account is needed")
}

pub(in crate::session) fn client_noted() -> Reply {
    Reply::new(200, "Noted")
}

pub(in crate::session) fn begin_handshake() -> Reply {
    Reply::new(234, "Begin the TLS handshake")
}

/// RFC 4217, 9: the reply to PBSZ names the size in this form.
pub(in crate::session) fn buffer_size() -> Reply {
    Reply::new(200, "PBSZ=0")
}

pub(in crate::session) fn data_protection(private: bool) -> Reply {
    let level = if private { "private" } else { "clear" };
    Reply::new(200, format!("Data connections are {level}"))
}

// Data connections.

/// RFC 1123, 4.1.2.6: clients look for the numbers, most of them in this text.
pub(in crate::session) fn passive(address: Ipv4Addr, port: u16) -> Reply {
    let [a, b, c, d] = address.octets();
    let [high, low] = port.to_be_bytes();
    Reply::new(
        227,
        format!("Entering Passive Mode ({a},{b},{c},{d},{high},{low})"),
    )
}

/// RFC 2428, 3.
pub(in crate::session) fn extended_passive(port: u16) -> Reply {
    Reply::new(229, format!("Entering Extended Passive Mode (|||{port}|)"))
}

pub(in crate::session) fn epsv_only() -> Reply {
    Reply::new(200, "Only EPSV from now on")
}

pub(in crate::session) fn active() -> Reply {
    Reply::new(200, "Will connect to you")
}

// Settings.

pub(in crate::session) fn transfer_type(transfer_type: TransferType) -> Reply {
    let letter = match transfer_type {
        TransferType::Ascii => 'A',
        TransferType::Image => 'I',
    };
    Reply::new(200, format!("Type is {letter}"))
}

pub(in crate::session) fn mode() -> Reply {
    Reply::new(200, "Mode is stream")
}

pub(in crate::session) fn structure() -> Reply {
    Reply::new(200, "Structure is file")
}

/// What clients look for: listings are in the form of Unix.
pub(in crate::session) fn system() -> Reply {
    Reply::new(215, "UNIX Type: L8")
}

/// The reply to NOOP.
pub(in crate::session) fn ok() -> Reply {
    Reply::new(200, "OK")
}

pub(in crate::session) fn rest(offset: u64) -> Reply {
    Reply::new(350, format!("The next transfer begins at {offset}"))
}

/// The bytes of RANG, the last included; `None` is the whole file.
pub(in crate::session) fn range(range: Option<(u64, u64)>) -> Reply {
    let bytes = match range {
        Some((first, last)) => format!("bytes {first} to {last}"),
        None => "the whole file".to_owned(),
    };
    Reply::new(350, format!("The next RETR or HASH is of {bytes}"))
}

/// Not 202: old cameras give up at it.
pub(in crate::session) fn nothing_to_allocate() -> Reply {
    Reply::new(200, "No storage needs to be allocated")
}

pub(in crate::session) fn utf8_on() -> Reply {
    Reply::new(200, "UTF8 is on")
}

/// RFC 3659, 7.9: names the facts that are shown from now on.
pub(in crate::session) fn facts(chosen: &str) -> Reply {
    let space = if chosen.is_empty() { "" } else { " " };
    Reply::new(200, format!("MLST OPTS{space}{chosen}"))
}

/// draft-ietf-ftpext2-hash, 3.3: the reply to OPTS HASH is the name.
pub(in crate::session) fn hash_name(name: HashName) -> Reply {
    Reply::new(200, name.name())
}

pub(in crate::session) fn no_transfer_to_abort() -> Reply {
    Reply::new(226, "No transfer to abort")
}

pub(in crate::session) fn syntax(syntax: &str) -> Reply {
    Reply::new(214, format!("Syntax: {syntax}"))
}

// Files and directories.

pub(in crate::session) fn changed_directory(path: &VirtualPath) -> Reply {
    Reply::new(250, working_directory_text(path))
}

pub(in crate::session) fn working_directory(path: &VirtualPath) -> Reply {
    Reply::new(257, working_directory_text(path))
}

fn working_directory_text(path: &VirtualPath) -> String {
    format!(
        "{} is the working directory",
        Reply::quote_path(&path.to_string())
    )
}

pub(in crate::session) fn created(path: &VirtualPath) -> Reply {
    Reply::new(
        257,
        format!("{} created", Reply::quote_path(&path.to_string())),
    )
}

pub(in crate::session) fn removed(path: &VirtualPath) -> Reply {
    Reply::new(250, format!("{path}: removed"))
}

pub(in crate::session) fn deleted(path: &VirtualPath) -> Reply {
    Reply::new(250, format!("{path}: deleted"))
}

pub(in crate::session) fn interrupted_upload_deleted(path: &VirtualPath) -> Reply {
    Reply::new(250, format!("{path}: deleted the interrupted upload"))
}

pub(in crate::session) fn rename_source_noted() -> Reply {
    Reply::new(350, "Send RNTO with the new name")
}

pub(in crate::session) fn renamed(old: &VirtualPath, new: &VirtualPath) -> Reply {
    Reply::new(250, format!("{old} is now {new}"))
}

pub(in crate::session) fn mode_has_no_effect(path: &VirtualPath) -> Reply {
    Reply::new(200, format!("{path}: accepted, it has no effect here"))
}

/// RFC 3659, 4.1: the reply to SIZE is the number.
pub(in crate::session) fn size(bytes: u64) -> Reply {
    Reply::new(213, bytes.to_string())
}

/// RFC 3659, 3.1: the reply to MDTM is the time.
pub(in crate::session) fn time(time: String) -> Reply {
    Reply::new(213, time)
}

/// draft-somers-ftp-mfxx, 3.1: fact, time and path. The code is 213; SITE UTIME answers 200.
pub(in crate::session) fn time_set(fact: &str, time: &str, path: &VirtualPath) -> Reply {
    Reply::new(213, format!("{fact}={time}; {path}"))
}

/// The reply to HASH: `213 SHA-256 0-49 <digest> <path>`.
pub(in crate::session) fn hash(
    name: HashName,
    (first, last): (u64, u64),
    digest: &str,
    argument: &str,
) -> Reply {
    Reply::new(
        213,
        format!("{} {first}-{last} {digest} {argument}", name.name()),
    )
}

/// The reply to XCRC and the like: the digest in capitals, as other servers write it.
pub(in crate::session) fn digest(digest: &str) -> Reply {
    Reply::new(250, digest.to_uppercase())
}

// Transfers. The 226 gets the transfer's id at its end.

/// The 150 of an upload; `from` is the byte of the file at which it begins, if the user may know
/// it.
pub(in crate::session) fn ready_for(path: &VirtualPath, from: Option<u64>) -> Reply {
    let text = match from {
        Some(from) => format!("Ready for {path} from byte {from}"),
        None => format!("Ready for {path}"),
    };
    Reply::new(150, text)
}

/// The 150 of STOU, which names the file in this form (RFC 1123, 4.1.2.9).
pub(in crate::session) fn unique_name(path: &VirtualPath) -> Reply {
    Reply::new(150, format!("FILE: {}", path.name().unwrap_or_default()))
}

pub(in crate::session) fn sending(path: &VirtualPath, bytes: u64) -> Reply {
    Reply::new(150, format!("Sending {path} ({bytes} bytes)"))
}

pub(in crate::session) fn sending_list(path: &VirtualPath) -> Reply {
    Reply::new(150, format!("Listing of {path}"))
}

/// `after`: the number of bytes of the file before those that were received.
pub(in crate::session) fn stored(received: u64, after: u64) -> Reply {
    let text = match after {
        0 => format!("Transfer complete, {received} bytes stored"),
        after => format!("Transfer complete, {received} bytes stored after {after}"),
    };
    Reply::new(226, text)
}

pub(in crate::session) fn sent(bytes: u64) -> Reply {
    Reply::new(226, format!("Transfer complete, {bytes} bytes sent"))
}

pub(in crate::session) fn list_sent() -> Reply {
    Reply::new(226, "Listing complete")
}

pub(in crate::session) fn abor_done() -> Reply {
    Reply::new(226, "ABOR done")
}
