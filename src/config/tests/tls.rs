//! `[tls]`, and what listeners and users say of TLS.

use super::*;
use crate::auth::options::UserTls;
use crate::tls::identity::RequiredName;
use crate::tls::options::{ClientCertificates, Protection, TlsVersion};
use std::time::Duration;

/// An authority's files and a certificate's, and the `[tls]` keys that name them.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        for name in ["one", "two"] {
            let host = format!("{name}.test");
            let made = rcgen::generate_simple_self_signed([host]).unwrap();
            files.write(&format!("{name}.crt"), &made.cert.pem());
            files.write(&format!("{name}.key"), &made.signing_key.serialize_pem());
        }
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// [`base`] with certificate `one` and `more`, in which `$name` is the path of a file and
    /// BERT the beginning of another user.
    fn with(&self, more: &str) -> Result<ServerOptions, ConfigErrors> {
        let tls = "tls.certificate = '$one.crt'\ntls.key = '$one.key'\n";
        self.alone(&format!("{tls}{more}"))
    }

    fn alone(&self, more: &str) -> Result<ServerOptions, ConfigErrors> {
        let bert = format!("users.bert = {{ password = '{HASH}', mounts = {{ '/' = 'scans' }}");
        let more = more
            .replace('$', &format!("{}/", self.0.path().display()))
            .replace("BERT", &bert)
            .replace("HASH", HASH);
        super::with(&more)
    }

    /// The one error.
    fn error(&self, more: &str) -> String {
        let lines = lines(self.with(more));
        let [line] = lines.as_slice() else {
            panic!("{more}: {lines:#?}")
        };
        line.clone()
    }
}

#[test]
fn defaults_of_tls() {
    let files = Files::new();
    let config = files.with("").unwrap();
    let tls = config.tls.unwrap();
    assert_eq!(tls.certificates.len(), 1);
    assert_eq!(tls.min_version, TlsVersion::V12);
    assert_eq!(tls.client_certificates, ClientCertificates::Off);
    assert_eq!(tls.reload, Duration::from_secs(30));
    assert!(!tls.require_session_reuse && tls.client_ca.is_none());
    for listener in config.listen {
        assert!(!listener.implicit);
        assert_eq!(listener.control, Protection::Optional);
        assert_eq!(listener.data, Protection::Optional);
    }
    let user = &config.users["anna"];
    assert_eq!(user.tls, UserTls::default());
    assert!(user.certificate.is_none() && !user.lenient_close);
    assert_eq!(config.timeouts.tls_handshake, Duration::from_secs(20));
    let without = super::with("").unwrap();
    assert!(without.tls.is_none());
    assert!(without.listen.iter().all(|l| l.control == Protection::Off));
    assert!(without.listen.iter().all(|l| l.data == Protection::Off));
}

#[test]
fn everything_is_read() {
    let files = Files::new();
    let config = files
        .with(
            "tls.certificates = [{ certificate = '$two.crt', key = '$two.key', names = ['*.Two.test'] }]
             tls.control = 'required'
             tls.data = 'off'
             tls.min_version = '1.3'
             tls.require_session_reuse = true
             tls.client_ca = '$two.crt'
             tls.reload = '1m'
             listen = [
               '127.0.0.1:21',
               { address = '127.0.0.1:990', tls = 'implicit', data = 'required' },
               { address = '127.0.0.1:22', control = 'off' },
               { address = '127.0.0.1:23', tls = 'explicit', control = 'optional', data = 'optional' },
             ]
             users.bert = { certificate = { san = 'b@x.test', password = 'none' }, mounts = { '/' = 'scans' } }
             users.carl = { password = 'HASH', certificate = { subject = 'carl' }, tls = { control = 'required', data = 'optional' }, lenient_close = true, mounts = { '/' = 'scans' } }",
        )
        .unwrap();
    let tls = config.tls.unwrap();
    assert_eq!(tls.certificates[1].names, ["*.two.test"]);
    assert_eq!(tls.min_version, TlsVersion::V13);
    assert!(tls.require_session_reuse);
    assert_eq!(tls.client_certificates, ClientCertificates::Optional);
    assert_eq!(tls.reload, Duration::from_secs(60));
    use Protection::{Off, Optional, Required};
    let listeners: Vec<_> = config
        .listen
        .iter()
        .map(|l| (l.implicit, l.control, l.data))
        .collect();
    assert_eq!(
        listeners,
        [
            (false, Required, Off),
            (true, Required, Required),
            (false, Off, Off),
            (false, Optional, Optional),
        ]
    );
    let bert = &config.users["bert"];
    assert!(bert.password.is_none());
    let login = bert.certificate.as_ref().unwrap();
    assert_eq!(login.name, RequiredName::Alternative("b@x.test".to_owned()));
    assert!(!login.password);
    let carl = &config.users["carl"];
    assert!(carl.certificate.as_ref().unwrap().password && carl.lenient_close);
    assert_eq!(carl.tls.control, Some(Required));
    assert_eq!(carl.tls.data, Some(Optional));
}

#[test]
fn files_that_are_wrong_are_named_with_their_key_and_nothing_of_them_is_shown() {
    let files = Files::new();
    files.write("rubbish", SECRET);
    files.write(
        "damaged",
        &format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"),
    );
    files.write("halved", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let cases = [
        ("$nowhere", "$one.key", "tls.certificate", "can't be read"),
        ("$one.crt", "$nowhere", "tls.key", "can't be read"),
        ("$rubbish", "$one.key", "tls.certificate", "no certificate"),
        ("$halved", "$one.key", "tls.certificate", "not a PEM file"),
        ("$one.crt", "$rubbish", "tls.key", "no private key"),
        ("$one.crt", "$damaged", "tls.key", "not a PEM file"),
        ("$one.crt", "$two.key", "tls.key", "not the key of"),
        ("$one.key", "$one.key", "tls.certificate", "no certificate"),
        ("", "$one.key", "tls.certificate", "is empty"),
    ];
    for (certificate, key, field, problem) in cases {
        let text = format!("tls.certificate = '{certificate}'\ntls.key = '{key}'");
        let lines = lines(files.alone(&text));
        let [line] = lines.as_slice() else {
            panic!("{text}: {lines:#?}")
        };
        let wrong = if field == "tls.key" { key } else { certificate };
        let path = files.path(wrong.trim_start_matches('$'));
        assert!(line.starts_with(&format!("test.toml: {field}: ")), "{line}");
        assert!(line.contains(problem), "{line}");
        assert!(wrong.is_empty() || line.contains(&path), "{line}");
    }
}

#[test]
fn what_does_not_fit_together() {
    let files = Files::new();
    for (more, key, problem) in [
        (
            "tls.control = 'of'",
            "tls.control",
            "\"required\", \"optional\", \"off\"",
        ),
        (
            "tls.control = 'off'\ntls.data = 'required'",
            "tls.data",
            "control is \"off\"",
        ),
        (
            "tls.min_version = '1.1'",
            "tls.min_version",
            "\"1.2\", \"1.3\"",
        ),
        (
            "tls.client_certificates = 'required'",
            "tls.client_ca",
            "is missing",
        ),
        (
            "tls.client_ca = '$one.crt'\ntls.client_certificates = 'required'",
            "tls.control",
            "\"required\", here or on each listener",
        ),
        (
            "tls.client_ca = '$one.crt'\ntls.client_certificates = 'required'\ntls.control = 'off'",
            "tls.control",
            "would need no certificate",
        ),
        (
            "tls.client_ca = '$one.crt'\ntls.client_certificates = 'required'\nlisten = ['[::]:1', '[::]:2', { address = '[::]:3', control = 'required' }]",
            "tls.control",
            "would need no certificate",
        ),
        (
            "tls.client_ca = '$one.crt'\ntls.client_certificates = 'required'\ntls.control = 'required'\nlisten = ['[::]:1', { address = '[::]:3', control = 'optional' }]",
            "listen[1].control",
            "\"required\", or tls.client_certificates",
        ),
        (
            "tls.client_ca = '$nowhere'",
            "tls.client_ca",
            "can't be read",
        ),
        (
            "tls.client_ca = '$one.key'",
            "tls.client_ca",
            "no certificate",
        ),
        (
            "tls.certificat = 'x'",
            "tls.certificat",
            "did you mean certificate?",
        ),
        (
            "tls.certificates = [{ certificate = '$one.crt' }]",
            "tls.certificates[0].key",
            "is missing",
        ),
        (
            "tls.certificates = [{ certificate = '$one.crt', key = '$two.key' }]",
            "tls.certificates[0].key",
            "not the key",
        ),
        (
            "tls.certificates = [{ certificate = '$two.crt', key = '$two.key', names = ['a b'] }]",
            "tls.certificates[0].names[0]",
            "not a host name",
        ),
        (
            "listen = [{ tls = 'implicit' }]",
            "listen[0].address",
            "is missing",
        ),
        (
            "listen = [{ address = '[::]:1', tls = 'x' }]",
            "listen[0].tls",
            "\"explicit\", \"implicit\"",
        ),
        (
            "listen = [{ address = '[::]:1', tls = 'implicit', control = 'optional' }]",
            "listen[0].control",
            "from the first byte",
        ),
        (
            "listen = [{ address = '[::]:1', control = 'off', data = 'optional' }]",
            "listen[0].data",
            "control is \"off\"",
        ),
        (
            "BERT, tls = { control = 'x' } }",
            "users.bert.tls.control",
            "\"required\"",
        ),
        (
            "BERT, tls = { all = 'x' } }",
            "users.bert.tls.all",
            "control, data",
        ),
        (
            "BERT, certificate = { subject = 'x' } }",
            "users.bert.certificate",
            "client_certificates",
        ),
        (
            "tls.client_ca = '$one.crt'\nBERT, certificate = { subject = 'x', san = 'y' } }",
            "users.bert.certificate",
            "exactly one",
        ),
        (
            "tls.client_ca = '$one.crt'\nBERT, certificate = { subject = 'x', password = 'none' } }",
            "users.bert.password",
            "never asked for",
        ),
        (
            "tls.control = 'off'\nBERT, tls = { control = 'required' } }",
            "users.bert.tls",
            "no listener offers TLS",
        ),
    ] {
        let line = files.error(more);
        assert!(
            line.starts_with(&format!("test.toml: {key}: ")),
            "{more}\n{line}"
        );
        assert!(line.contains(problem), "{more}\n{line}");
    }
}

#[test]
fn client_certificates_can_be_required_where_each_listener_requires_tls() {
    let files = Files::new();
    for more in [
        "tls.control = 'required'",
        "tls.control = 'required'\nlisten = ['[::]:1', { address = '[::]:2', tls = 'implicit' }]",
        "listen = [{ address = '[::]:1', control = 'required' }, { address = '[::]:2', tls = 'implicit' }]",
    ] {
        let required = "tls.client_ca = '$one.crt'\ntls.client_certificates = 'required'";
        let config = files.with(&format!("{required}\n{more}")).unwrap();
        let mut listeners = config.listen.iter();
        assert!(listeners.all(|l| l.control == Protection::Required));
    }
}

#[test]
fn tls_without_its_section() {
    check(
        r#"
        tls.control = 'optional' => tls.certificate: is missing | certificates
        tls.key = 'x' => tls.certificate: is missing
        tls.certificate = 'x' => tls.key: is missing
        listen = [{ address = '[::]:1', tls = 'implicit' }] => listen[0].tls: there is no section [tls]
        listen = [{ address = '[::]:1', data = 'off' }] => listen[0].data: there is no section [tls]
        users.bert = { password = 'HASH', mounts = { '/' = 'scans' }, tls = { data = 'required' } } => users.bert.tls: there is no section [tls]
        "#,
    );
}

#[test]
fn certificates_of_hosts() {
    let files = Files::new();
    let config = files
        .with("hosts.'Two.test.' = { certificate = '$two.crt', key = '$two.key' }\nhosts.a = {}")
        .unwrap();
    let certificates = config.tls.unwrap().certificates;
    assert_eq!(certificates.len(), 2);
    assert_eq!(certificates[1].names, ["two.test"]);
    let missing = files.error("hosts.a = { certificate = '$two.crt' }");
    assert!(missing.contains("hosts.a.key: is missing"), "{missing}");
    let other = files.error("hosts.a = { certificate = '$two.crt', key = '$one.key' }");
    assert!(
        other.contains("hosts.a.key") && other.contains("is not the key of the certificate"),
        "{other}"
    );
    let twice = files.error(
        "tls.certificates = [{ certificate = '$one.crt', key = '$one.key', names = ['a'] }]\n\
         hosts.A = { certificate = '$two.crt', key = '$two.key' }",
    );
    assert!(
        twice.contains("hosts.A.certificate: tls.certificates has one for this name already"),
        "{twice}"
    );
    let plain = lines(files.alone("hosts.a = { certificate = '$two.crt', key = '$two.key' }"));
    assert!(
        plain.len() == 1 && plain[0].contains("there is no section [tls]"),
        "{plain:#?}"
    );
}
