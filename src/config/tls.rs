//! The schema of `[tls]`, and of what listeners and users say of TLS.

use std::path::PathBuf;

use crate::auth::options::{CertificateLogin, UserTls};
use crate::config::section::{Field, Section};
use crate::config::tree::Value;
use crate::config::values;
use crate::server::options::ListenOptions;
use crate::tls::identity::RequiredName;
use crate::tls::options::{
    CertificateFiles, ClientCertificates, Pem, Protection, TlsOptions, TlsVersion,
};
use crate::tls::{self, About};

const NO_TLS: &str = "there is no section [tls]";
const WITH_TLS: &str = "this key only together with a section [tls]";
const LISTEN: &str = "a list of IP addresses with ports: [\"0.0.0.0:2121\", { address = \"0.0.0.0:990\", tls = \"implicit\" }]";
const UNCERTIFIED: &str = "a client that does not begin TLS would need no certificate, but client_certificates is \"required\"";
const CONTROL_OF_ONE: &str = "\"required\", or tls.client_certificates = \"optional\"";
const CONTROL_OF_ALL: &str =
    "\"required\", here or on each listener, or client_certificates = \"optional\"";
const PROTECTIONS: [Protection; 3] = [Protection::Required, Protection::Optional, Protection::Off];
const LISTENER: &str = "an address, or a table of address, tls, control and data";

/// Reads `[tls]`; `None` if it is left out.
pub(super) fn decode(root: &Section<'_>) -> Option<TlsOptions> {
    if !root.has("tls") {
        root.section("tls").finish();
        return None;
    }
    let section = root.section("tls");
    let mut certificates = Vec::new();
    let has_main = section.has("certificate") || section.has("key");
    certificates.extend(own_certificate(&section));
    let listed = section.field("certificates");
    for item in listed
        .as_ref()
        .and_then(|field| field.items("a list of { certificate = \"FILE\", key = \"FILE\" }"))
        .unwrap_or_default()
    {
        certificates.extend(listed_certificate(&item));
    }
    if !has_main && listed.is_none() {
        section.wrong(
            "certificate",
            "is missing",
            "the path of a certificate (and key), or certificates, a list of them",
        );
    }
    let control = section.word_or_default("control", &PROTECTIONS);
    let data = section.word_or_default("data", &PROTECTIONS);
    if control == Protection::Off && data == Protection::Required {
        section.wrong(
            "data",
            "\"required\" can't be had: control is \"off\"",
            "\"off\", or control = \"optional\" or \"required\"",
        );
    }
    let min_version = section.word_or_default("min_version", &[TlsVersion::V12, TlsVersion::V13]);
    let require_session_reuse = section.flag_or_default("require_session_reuse");
    let client_ca = section.field("client_ca");
    let client_certificates = section.field("client_certificates").and_then(|field| {
        values::word(
            &field,
            &[
                ClientCertificates::Required,
                ClientCertificates::Optional,
                ClientCertificates::Off,
            ],
        )
    });
    let client_certificates = client_certificates.unwrap_or(match client_ca {
        Some(_) => ClientCertificates::Optional,
        None => ClientCertificates::Off,
    });
    if client_ca.is_none() && client_certificates != ClientCertificates::Off {
        section.wrong(
            "client_ca",
            "is missing: it says which client certificates are good",
            "the path of a file with the authorities' certificates",
        );
    }
    let client_ca = client_ca.and_then(|field| authorities(&field));
    let reload = section.time_or_default("reload");
    section.finish();
    Some(TlsOptions {
        certificates,
        control,
        data,
        min_version,
        require_session_reuse,
        client_ca,
        client_certificates,
        reload,
    })
}

/// Reads `listen`.
pub(super) fn listen(root: &Section<'_>, tls: Option<&TlsOptions>) -> Vec<ListenOptions> {
    let (control, data) = tls.map_or((Protection::Off, Protection::Off), |tls| {
        (tls.control, tls.data)
    });
    let plain = |address| ListenOptions {
        address,
        implicit: false,
        control,
        data: if control == Protection::Off {
            control
        } else {
            data
        },
    };
    let uncertified = |control| {
        // Without authorities no client has one; that error is reported already.
        let required = tls.is_some_and(|tls| {
            tls.client_certificates == ClientCertificates::Required && tls.client_ca.is_some()
        });
        required && control != Protection::Required
    };
    let Some(field) = root.field("listen") else {
        if uncertified(control) {
            root.section("tls")
                .wrong("control", UNCERTIFIED, CONTROL_OF_ALL);
        }
        let addresses = |text: &'static str| {
            let addresses = text.split('"').filter_map(|address| address.parse().ok());
            Some(addresses.map(plain).collect())
        };
        return root.default_of("listen", addresses).unwrap_or_default();
    };
    let items = field.items(LISTEN);
    if items.as_ref().is_some_and(Vec::is_empty) {
        field.wrong::<()>("is empty", LISTEN);
    }
    let mut listeners: Vec<ListenOptions> = Vec::new();
    let mut all_certified = true;
    for item in items.unwrap_or_default() {
        let is_table = matches!(
            item.value(),
            Value::Table(_) | Value::Variable { table: Some(_), .. }
        );
        let listener = if is_table {
            listener(&item, tls, &plain)
        } else {
            values::socket_address(&item).map(plain)
        };
        if let Some(listener) = listener {
            if uncertified(listener.control) {
                let table = is_table.then(|| item.section(LISTENER)).flatten();
                match table.filter(|own| own.has("control")) {
                    Some(own) => own.wrong("control", UNCERTIFIED, CONTROL_OF_ONE),
                    None => all_certified = false,
                }
            }
            let address = listener.address;
            let mut others = listeners.iter().map(|other| other.address);
            match others.find(|other| values::collide(*other, address)) {
                Some(other) if other == address => {
                    item.wrong::<()>(format!("{address} is there twice"), LISTEN);
                }
                Some(other) => {
                    let problem = format!("{address} can't be listened on together with {other}");
                    item.wrong::<()>(problem, LISTEN);
                }
                None => {}
            }
            listeners.push(listener);
        }
    }
    if !all_certified {
        root.section("tls")
            .wrong("control", UNCERTIFIED, CONTROL_OF_ALL);
    }
    listeners
}

fn listener(
    item: &Field<'_>,
    tls: Option<&TlsOptions>,
    plain: &impl Fn(std::net::SocketAddr) -> ListenOptions,
) -> Option<ListenOptions> {
    let section = item.section(LISTENER)?;
    let address = section
        .required("address", "an IP address and a port")
        .and_then(|field| values::socket_address(&field));
    let implicit = section
        .field("tls")
        .and_then(|field| values::word(&field, &[false, true]));
    let control = section.field("control").and_then(|f| protection(&f));
    let data = section.field("data").and_then(|f| protection(&f));
    if tls.is_none() {
        for key in ["tls", "control", "data"] {
            if section.has(key) {
                section.wrong(key, NO_TLS, WITH_TLS);
            }
        }
    }
    let implicit = implicit.unwrap_or(false);
    if implicit && matches!(control, Some(Protection::Off | Protection::Optional)) {
        section.wrong(
            "control",
            "a listener with tls = \"implicit\" has TLS from the first byte",
            "\"required\", or leave it out",
        );
    }
    let mut listener = plain(address?);
    listener.implicit = implicit;
    listener.control = match control {
        _ if implicit => Protection::Required,
        Some(control) => control,
        None => listener.control,
    };
    listener.data = match data {
        Some(data) if listener.control == Protection::Off && data != Protection::Off => {
            section.wrong(
                "data",
                "can't be had: control is \"off\"",
                "\"off\", or control = \"optional\" or \"required\"",
            );
            data
        }
        Some(data) => data,
        None if listener.control == Protection::Off => Protection::Off,
        None => tls.map_or(Protection::Off, |tls| tls.data),
    };
    section.finish();
    Some(listener)
}

/// Reads what a user's section says of TLS: `tls` and `certificate`.
pub(super) fn user(
    section: &Section<'_>,
    tls: Option<&TlsOptions>,
    listeners: &[ListenOptions],
) -> UserTls {
    let mut wanted = UserTls::default();
    let field = section.field("tls");
    if let Some(own) = field
        .as_ref()
        .and_then(|field| field.section("a table of control and data"))
    {
        wanted.control = own.field("control").and_then(|f| protection(&f));
        wanted.data = own.field("data").and_then(|f| protection(&f));
        let needs = [wanted.control, wanted.data].contains(&Some(Protection::Required));
        if tls.is_none() {
            section.wrong("tls", NO_TLS, WITH_TLS);
        } else if needs && listeners.iter().all(|l| l.control == Protection::Off) {
            section.wrong(
                "tls",
                "\"required\" can't be had: no listener offers TLS",
                "\"off\" or \"optional\"",
            );
        } else if wanted.control == Some(Protection::Off)
            && wanted.data == Some(Protection::Required)
        {
            own.wrong(
                "data",
                "\"required\" can't be had: control is \"off\"",
                "\"off\", or control = \"optional\" or \"required\"",
            );
        }
        own.finish();
    }
    wanted
}

/// Reads the client certificate that a user must have.
pub(super) fn users_certificate(
    section: &Section<'_>,
    tls: Option<&TlsOptions>,
) -> Option<CertificateLogin> {
    let certificate = section
        .field("certificate")
        .and_then(|field| certificate_login(&field));
    let none_asked = tls.is_none_or(|tls| tls.client_certificates == ClientCertificates::Off);
    if certificate.is_some() && none_asked {
        section.wrong(
            "certificate",
            "no client is asked for a certificate: tls.client_certificates is \"off\"",
            "this key only with tls.client_ca and tls.client_certificates",
        );
    }
    certificate
}

fn certificate_login(field: &Field<'_>) -> Option<CertificateLogin> {
    let allowed = "{ subject = \"COMMON NAME\" } or { san = \"NAME\" }, with password = \"required\" or \"none\"";
    let section = field.section(allowed)?;
    let name = |key| section.field(key).and_then(|field| values::line(&field));
    let (subject, alternative) = (name("subject"), name("san"));
    let password = section
        .field("password")
        .and_then(|field| values::word(&field, &[true, false]));
    section.finish();
    let name = match (subject, alternative) {
        (Some(subject), None) => RequiredName::Subject(subject),
        (None, Some(name)) => RequiredName::Alternative(name),
        _ => return field.wrong("must have exactly one of the keys subject and san", allowed),
    };
    Some(CertificateLogin {
        name,
        password: password.unwrap_or(true),
    })
}

fn protection(field: &Field<'_>) -> Option<Protection> {
    values::word(field, &PROTECTIONS)
}

/// Reads the certificate that a virtual host has of its own, and puts it among those of `[tls]`.
pub(super) fn host(section: &Section<'_>, name: &str, tls: Option<&mut TlsOptions>) {
    let written = ["certificate", "key"]
        .into_iter()
        .find(|key| section.has(key));
    let own = own_certificate(section);
    match (written, tls) {
        (None, _) => {}
        (Some(key), None) => section.wrong(key, NO_TLS, WITH_TLS),
        (Some(key), Some(tls)) => {
            let mut names = tls.certificates.iter().flat_map(|files| &files.names);
            if names.any(|other| *other == name) {
                section.wrong(
                    key,
                    "tls.certificates has one for this name already",
                    "one certificate for a name",
                );
            }
            tls.certificates.extend(own.map(|files| CertificateFiles {
                names: vec![name.to_owned()],
                ..files
            }));
        }
    }
}

/// The keys `certificate` and `key`: both or none.
fn own_certificate(section: &Section<'_>) -> Option<CertificateFiles> {
    match (section.field("certificate"), section.field("key")) {
        (Some(own), Some(key)) => return certificate(&own, &key, None),
        (Some(_), None) => section.wrong("key", "is missing", "the path of the certificate's key"),
        (None, Some(_)) => {
            section.wrong("certificate", "is missing", "the path of a certificate");
        }
        (None, None) => {}
    }
    None
}

fn listed_certificate(item: &Field<'_>) -> Option<CertificateFiles> {
    let allowed = "{ certificate = \"FILE\", key = \"FILE\", names = [\"HOST\", …] }";
    let section = item.section(allowed)?;
    let own = section.required("certificate", "the path of a certificate");
    let key = section.required("key", "the path of the certificate's key");
    let names = section.field("names");
    section.finish();
    certificate(&own?, &key?, names.as_ref())
}

/// A certificate and its key, read and found right.
fn certificate(
    own: &Field<'_>,
    key: &Field<'_>,
    names: Option<&Field<'_>>,
) -> Option<CertificateFiles> {
    let allowed = "a list of host names such as \"ftp.example.com\" or \"*.example.com\"; left out: those in the certificate";
    let mut host_names = Vec::new();
    if let Some(names) = names {
        for item in names.items(allowed)? {
            let name = item.text(allowed)?.to_ascii_lowercase();
            if !values::is_host_name(name.strip_prefix("*.").unwrap_or(&name)) {
                return item.wrong(format!("{name:?} is not a host name"), allowed);
            }
            host_names.push(name);
        }
        if host_names.is_empty() {
            return names.wrong("is empty", allowed);
        }
    }
    let files = CertificateFiles {
        certificate: path(own)?,
        key: path(key)?,
        names: host_names,
    };
    match tls::certificate(&files) {
        Ok(_) => Some(files),
        Err(error) => {
            let (field, allowed) = match error.about {
                About::Key(_) => (key, "the path of the certificate's private key in PEM form"),
                _ => (
                    own,
                    "the path of a certificate in PEM form, followed by its issuers",
                ),
            };
            field.wrong(error.to_string(), allowed)
        }
    }
}

fn authorities(field: &Field<'_>) -> Option<Pem> {
    let source = path(field)?;
    match tls::read_authorities(&source) {
        Ok(()) => Some(source),
        Err(error) => field.wrong(
            error.to_string(),
            "the path of a file with the authorities' certificates in PEM form",
        ),
    }
}

fn path(field: &Field<'_>) -> Option<Pem> {
    let allowed = "the path of a file";
    let text = field.text(allowed)?;
    if text.is_empty() {
        return field.wrong("is empty", allowed);
    }
    Some(Pem::File(PathBuf::from(text)))
}
