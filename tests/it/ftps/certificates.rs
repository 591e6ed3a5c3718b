//! Certificates: by the requested host name, reloaded when their files change, and those of
//! clients.

use std::path::Path;

use super::{download, secured, upload, with_tls};
use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, Builder, Gateway, PASSWORD, USER};
use test_support::launcher::command;
use test_support::process::Process;
use test_support::tls::{Client, HOST, Pki, VERSIONS};
use test_support::within;

/// The certificate that the gateway shows to a client.
async fn shown(gateway: &Gateway, client: &Client) -> Vec<u8> {
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.auth("AUTH TLS", client).await;
    ftp.tls().peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn the_certificate_follows_the_requested_name() {
    let pki = Pki::new();
    pki.server("a", &["a.test", "b.test"]);
    pki.server("wild", &["*.wild.test"]);
    pki.server("named", &["elsewhere.test", "listed.test"]);
    let files = |name: &str| {
        let (own, key) = (
            pki.path(&format!("{name}.crt")),
            pki.path(&format!("{name}.key")),
        );
        format!("certificate = {own:?}, key = {key:?}")
    };
    let gateway = with_tls(
        &pki,
        &format!(
            "certificates = [{{ {} }}, {{ {} }}, {{ {}, names = [\"Listed.test\"] }}]",
            files("a"),
            files("wild"),
            files("named")
        ),
    )
    .start()
    .await;
    // The client verifies that the certificate has the name.
    let mut seen = Vec::new();
    for name in [HOST, "a.test", "B.test", "x.wild.test", "listed.test"] {
        let client = pki.client().name(name).build();
        seen.push(shown(&gateway, &client).await);
    }
    assert_eq!(seen[1], seen[2]);
    seen.remove(1);
    seen.dedup();
    assert_eq!(seen.len(), 4);
    // Other names get the first certificate, which does not have them.
    for name in ["elsewhere.test", "wild.test", "x.y.wild.test"] {
        let client = pki.client().name(name).build();
        let mut ftp = Ftp::connect(gateway.address).await;
        ftp.expect("AUTH TLS", 234).await;
        ftp.handshake(&client).await.unwrap_err();
    }
    gateway.stop().await;
}

/// Waits until the gateway shows another certificate than this one.
async fn changed(gateway: &Gateway, client: &Client, old: &[u8]) -> Vec<u8> {
    within("the new certificate", async {
        loop {
            let now = shown(gateway, client).await;
            if now != old {
                return now;
            }
        }
    })
    .await
}

#[tokio::test]
async fn changed_files_are_reloaded_and_wrong_ones_refused() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "reload = \"10ms\"").start().await;
    let client = pki.client().build();
    let first = shown(&gateway, &client).await;
    // An older session continues, with its data connections.
    let mut ftp = secured(&gateway, &client).await;
    pki.server("tls", &[HOST]);
    let second = changed(&gateway, &client, &first).await;
    assert_eq!(upload(&mut ftp, &client, "x", b"1").await.code, 226);
    // A wrong file does not replace a valid certificate.
    std::fs::write(pki.path("tls.key"), "no key").unwrap();
    for _ in 0..20 {
        assert_eq!(shown(&gateway, &client).await, second);
    }
    pki.server("tls", &[HOST]);
    let third = changed(&gateway, &client, &second).await;
    assert_ne!(third, first);
    assert_eq!(download(&mut ftp, &client, "RETR x").await.0, b"1");
    gateway.stop().await;
}

/// Each certificate on its own: one whose files are wrong or missing stays as it was, and does not
/// stop the renewal of others.
#[tokio::test]
async fn a_wrong_certificate_does_not_stop_the_renewal_of_others() {
    let pki = Pki::new();
    pki.server("b", &["b.test"]);
    let second = format!(
        "certificates = [{{ certificate = {:?}, key = {:?} }}]",
        pki.path("b.crt"),
        pki.path("b.key")
    );
    let client = pki.client().build();
    let client_of_b = pki.client().name("b.test").build();
    let gateway = with_tls(&pki, &format!("reload = \"10ms\"\n{second}"))
        .start()
        .await;
    let mut first = shown(&gateway, &client).await;
    let old = shown(&gateway, &client_of_b).await;
    let key = pki.path("b.key");
    for spoil in [
        &(|| std::fs::write(&key, "no key").unwrap()) as &dyn Fn(),
        &|| std::fs::remove_file(&key).unwrap(),
    ] {
        spoil();
        pki.server("tls", &[HOST]);
        first = changed(&gateway, &client, &first).await;
        assert_eq!(shown(&gateway, &client_of_b).await, old);
    }
    // And the other way round, after it is valid again.
    std::fs::write(pki.path("tls.crt"), "no certificate").unwrap();
    pki.server("b", &["b.test"]);
    changed(&gateway, &client_of_b, &old).await;
    assert_eq!(shown(&gateway, &client).await, first);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_certificates_are_logged() {
    let pki = Pki::new();
    let process = Process::start(&pki.section("reload = \"10ms\"")).await;
    let key = pki.path("tls.key");
    std::fs::write(&key, "no key").unwrap();
    let place = key.display();
    process
        .logged(&format!("{place}: holds no private key in PEM form"))
        .await;
    std::fs::remove_file(&key).unwrap();
    process
        .logged(&format!("{place}: can't be read: No such file"))
        .await;
}

/// As Kubernetes mounts a Secret: files are links through `..data`, a link that is swapped
/// atomically.
#[tokio::test]
async fn a_swapped_link_is_seen() {
    let pki = Pki::new();
    let version = |name: &str| {
        std::fs::create_dir(pki.path(name)).unwrap();
        pki.server(&format!("{name}/tls"), &[HOST]);
    };
    let swap = |name: &str| {
        std::os::unix::fs::symlink(name, pki.path("..data_tmp")).unwrap();
        std::fs::rename(pki.path("..data_tmp"), pki.path("..data")).unwrap();
    };
    version("one");
    swap("one");
    for file in ["tls.crt", "tls.key"] {
        std::fs::remove_file(pki.path(file)).unwrap();
        std::os::unix::fs::symlink(Path::new("..data").join(file), pki.path(file)).unwrap();
    }
    let gateway = with_tls(&pki, "reload = \"10ms\"").start().await;
    let client = pki.client().build();
    let first = shown(&gateway, &client).await;
    version("two");
    swap("two");
    std::fs::remove_dir_all(pki.path("one")).unwrap();
    changed(&gateway, &client, &first).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_reload_reads_certificates_at_once() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "reload = 0").start().await;
    let client = pki.client().build();
    let first = shown(&gateway, &client).await;
    pki.server("tls", &[HOST]);
    for _ in 0..5 {
        assert_eq!(shown(&gateway, &client).await, first);
    }
    gateway.server.reload();
    changed(&gateway, &client, &first).await;
    gateway.stop().await;
}

fn with_clients(pki: &Pki, kind: &str) -> Builder {
    with_tls(
        pki,
        &format!(
            "client_ca = {:?}\nclient_certificates = \"{kind}\"\ncontrol = \"required\"",
            pki.path("ca.crt")
        ),
    )
    .user("both", "b", "{ \"/\" = \"main\" }")
    .with("[users.both]\ncertificate = { san = \"Scanner@Example.test\" }")
    .with("[users.alone]\ncertificate = { subject = \"scanner 7\", password = \"none\" }\nmounts = { \"/\" = \"main\" }")
}

#[tokio::test]
async fn a_certificate_instead_of_a_password() {
    let pki = Pki::new();
    let gateway = with_clients(&pki, "optional").start().await;
    for version in VERSIONS {
        let client = || pki.client().version(version);
        let own = client()
            .identity(pki.client_certificate("scanner 7", &[]))
            .build();
        let mut ftp = Ftp::connect(gateway.address).await;
        ftp.auth("AUTH TLS", &own).await;
        ftp.expect("USER alone", 232).await;
        ftp.expect("PBSZ 0", 200).await;
        ftp.expect("PROT P", 200).await;
        assert_eq!(upload(&mut ftp, &own, "x", b"1").await.code, 226);
        // It does not serve for other users.
        ftp.expect("USER both", 331).await;
        ftp.expect("PASS b", 530).await;
        ftp.login(USER, PASSWORD).await;
        // Other users cannot log in as this one, with a password or with another certificate.
        let others = [
            client().build(),
            client()
                .identity(pki.client_certificate("scanner 8", &["scanner 7"]))
                .build(),
        ];
        for other in others {
            let mut ftp = Ftp::connect(gateway.address).await;
            ftp.auth("AUTH TLS", &other).await;
            ftp.expect("USER alone", 331).await;
            ftp.expect("PASS ", 530).await;
        }
    }
    gateway.stop().await;
}

/// Without a certificate no client gets as far as its password, on any listener.
#[tokio::test]
async fn a_required_certificate_is_required_of_every_client() {
    let pki = Pki::new();
    let gateway = with_clients(&pki, "required").start().await;
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.expect(&format!("USER {USER}"), 530).await;
    ftp.expect(&format!("PASS {PASSWORD}"), 503).await;
    ftp.expect("PWD", 530).await;
    let own = pki
        .client()
        .identity(pki.client_certificate("unknown", &[]))
        .build();
    secured(&gateway, &own).await;
    gateway.stop().await;
}

/// A server does not start if a client could connect without one.
#[tokio::test]
async fn a_certificate_is_not_required_without_tls() {
    let pki = Pki::new();
    let required = format!(
        "client_ca = {:?}\nclient_certificates = \"required\"",
        pki.path("ca.crt")
    );
    let file = pki.path("s3ftpd.toml");
    std::fs::write(&file, pki.section(&required)).unwrap();
    for subcommand in ["check", "serve"] {
        let output = command(&[subcommand, "--config", file.to_str().unwrap()]).output();
        let output = within(subcommand, output).await.unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        let wrong = format!(
            "{}: tls.control: a client that does not begin TLS would need no certificate, but client_certificates is \
             \"required\"; allowed: \"required\", here or on each listener",
            file.display()
        );
        assert!(errors.contains(&wrong), "{subcommand}: {errors}");
    }
}

/// More than a handshake without client certificates may send.
#[tokio::test]
async fn a_long_certificate_of_a_client() {
    let pki = Pki::new();
    let gateway = with_clients(&pki, "optional").start().await;
    let names: Vec<String> = (0..800)
        .map(|n| format!("host-{n:04}.example.test"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for version in VERSIONS {
        let identity = pki.client_certificate("scanner 7", &names);
        assert!(identity.0.der().len() > 16 * 1024);
        let own = pki.client().version(version).identity(identity).build();
        let mut ftp = Ftp::connect(gateway.address).await;
        ftp.auth("AUTH TLS", &own).await;
        ftp.expect("USER alone", 232).await;
        ftp.expect("PBSZ 0", 200).await;
        ftp.expect("PROT P", 200).await;
        assert_eq!(upload(&mut ftp, &own, "x", b"1").await.code, 226);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_certificate_and_a_password() {
    let pki = Pki::new();
    let gateway = with_clients(&pki, "optional").start().await;
    let own = pki
        .client()
        .identity(pki.client_certificate("x", &["Scanner@EXAMPLE.test"]))
        .build();
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.auth("AUTH TLS", &own).await;
    ftp.expect("USER both", 331).await;
    ftp.expect("PASS wrong", 530).await;
    ftp.login("both", "b").await;
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.auth("AUTH TLS", &pki.client().build()).await;
    ftp.expect("USER both", 331).await;
    let refused = ftp.expect("PASS b", 530).await;
    assert!(refused.text().contains("certificate"), "{refused:?}");
    ftp.expect("PWD", 530).await;
    gateway.stop().await;
}

#[tokio::test]
async fn certificates_of_unknown_users_and_no_certificate() {
    let pki = Pki::new();
    let strangers = Pki::new();
    for kind in ["optional", "required"] {
        let gateway = with_clients(&pki, kind).start().await;
        for version in VERSIONS {
            let client = || pki.client().version(version);
            let foreign = client()
                .identity(strangers.client_certificate("scanner 7", &[]))
                .build();
            let mut refused = vec![foreign];
            if kind == "required" {
                refused.push(client().build());
            }
            for client in refused {
                let mut ftp = Ftp::connect(gateway.address).await;
                ftp.expect("AUTH TLS", 234).await;
                // In TLS 1.3 the client finishes before the server has seen its certificate.
                if ftp.handshake(&client).await.is_ok() {
                    ftp.ends_by_an_alert().await;
                }
            }
        }
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_data_connection_shows_the_same_certificate_or_none() {
    let pki = Pki::new();
    let gateway = with_clients(&pki, "optional").start().await;
    let own = pki
        .client()
        .identity(pki.client_certificate("scanner 7", &[]))
        .build();
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.auth("AUTH TLS", &own).await;
    ftp.expect("USER alone", 232).await;
    ftp.expect("PBSZ 0", 200).await;
    ftp.expect("PROT P", 200).await;
    let other = pki
        .client()
        .identity(pki.client_certificate("scanner 7", &[]))
        .build();
    let data = ftp.data_passive().await;
    ftp.expect("STOR x", 150).await;
    let _tls = other.connect(data).await;
    let reply = ftp.expect_reply(522).await;
    assert!(reply.text().contains("certificate"), "{reply:?}");
    assert_eq!(gateway.store.object(BUCKET, "x"), None);
    let none = pki.client().build();
    assert_eq!(upload(&mut ftp, &none, "x", b"1").await.code, 226);
    gateway.stop().await;
}
